"""The Python client: everything the HTTP API can do, with plain dictionaries as answers. Needs nothing of the rest.

client = Client("http://127.0.0.1:3000")  # key="esp_…" where one is needed
job = client.finetune("weather", [LabeledImage("rain.jpg", Path("rain.jpg").read_bytes, "rain"), …], wait=60)
client.predict(["weather"], [Path("sky.jpg")])
client.predict(["intents"], texts=["Where is my card?"])
"""

from service.client.client import Client
from service.client.errors import ApiError
from service.client.inputs import LabeledImage, LabeledInput
from service.client.transport import DEFAULT_URL

__all__ = ["DEFAULT_URL", "ApiError", "Client", "LabeledImage", "LabeledInput"]
