"""`make demo`: start Espalier, teach it handwritten digits over HTTP, and test it on digits it has never seen.

Everything here goes through HTTP, as any program of yours would. `--exit` ends the service afterwards.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from examples.digits import Digit, drawing, load
from service.cli import display
from service.client import Client, LabeledImage

HEAD = "digits"
REQUIRED = 0.95  # accuracy on held-out digits below which the demo has failed
BATCH = 64  # images in one request
HOME = Path(os.environ.get("ESPALIER_HOME", ".espalier"))
say = display.out.print


def main() -> int:
    """The whole demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="end the service after the report")
    parser.add_argument("--port", type=int, default=3000, help="the first port to try")
    options = parser.parse_args()

    port = free_port(options.port)
    url = f"http://127.0.0.1:{port}"
    with service(port) as process, Client(url) as client:
        wait_ready(client, process)
        training, held_out = load()
        accuracy = teach_and_test(client, training, held_out)
        if accuracy < REQUIRED:
            say(f"[red]That is below {REQUIRED}: something is wrong.[/]")
            return 1
        say(NEXT.format(url=url))
        if not options.exit:
            say(f"The service is running at [bold]{url}[/] (API at {url}/docs). Ctrl-C ends it.")
            process.wait()
    return 0


def teach_and_test(client: Client, training: Sequence[Digit], held_out: Sequence[Digit]) -> float:
    """Teach the head, then ask it about digits that were never sent for training; returns the share it got right."""
    say(f"[bold]Teaching[/] the head {HEAD!r} with {len(training):,} pictures of handwritten digits")
    images = [LabeledImage(digit.name, lambda digit=digit: digit.png, digit.label) for digit in training]
    # `replace` starts over with just these pictures, whatever the head learned since, so a second run is the same
    # experiment. It is also a fast one: what the backbone made of these pictures is cached by their content.
    job = client.finetune(HEAD, images, mode="replace", seed=0)
    display.follow(client, job["id"], quiet=False)
    job = client.job(job["id"])
    display.job(job)
    if job["status"] != "succeeded":
        raise SystemExit(f"the job ended as {job['status']}, so there is nothing new to test")

    say(f"\n[bold]Testing[/] it on {len(held_out)} digits that were not sent for training")
    began = time.perf_counter()
    answers = [answer for batch in batches(held_out) for answer in ask(client, batch)]
    seconds = time.perf_counter() - began
    right = [answer["label"] == digit.label for answer, digit in zip(answers, held_out, strict=True)]
    accuracy = sum(right) / len(right)
    say(f"{sum(right)} of {len(right)} right, accuracy [bold]{accuracy:.4f}[/], asked over HTTP in {seconds:.1f} s")
    if False in right:
        show(held_out[right.index(False)], answers[right.index(False)], "One that it got wrong")
    show(held_out[right.index(True)], answers[right.index(True)], "One that it got right")
    return accuracy


def batches(digits: Sequence[Digit]) -> Iterator[Sequence[Digit]]:
    """The digits, some at a time."""
    return (digits[start : start + BATCH] for start in range(0, len(digits), BATCH))


def ask(client: Client, digits: Sequence[Digit]) -> list[dict]:
    """One answer a digit, in order."""
    return client.predict([HEAD], [digit.png for digit in digits], top_k=3)["predictions"]


def show(digit: Digit, answer: dict, title: str) -> None:
    """A digit in characters, and what the head said of it."""
    top = ", ".join(f"{row['label']} ({row['score']:.3f})" for row in answer["top"])
    say(f"\n{title}: file {digit.name}, a [bold]{digit.label}[/]; the head says {top}")
    print(drawing(digit))


@contextmanager
def service(port: int) -> Iterator[subprocess.Popen]:
    """`espalier serve` for as long as it is needed; its log goes to a file, so that this output can be read."""
    HOME.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
    environment = os.environ | {"ESPALIER_HOME": str(HOME)}
    with log_file().open("w") as log:
        # A session of its own: Ctrl-C is then ours to handle, and ends the service in order.
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        yield process
    except KeyboardInterrupt:
        pass
    finally:
        with display.status("ending the service", quiet=False):
            process.terminate()
            process.wait()


def log_file() -> Path:
    """Where the service of the demo writes its log."""
    return HOME / "demo.log"


def wait_ready(client: Client, process: subprocess.Popen) -> None:
    """Wait for the first answer; the very first start exports the backbone to ONNX, which takes some seconds."""
    began = time.perf_counter()
    with display.status("starting the service (the very first time it also builds the backbone)", quiet=False):
        while not client.is_ready():
            if process.poll() is not None:
                print(log_file().read_text(), file=sys.stderr)
                raise SystemExit("the service ended before it was ready; its log is above")
            time.sleep(0.1)
    say(f"[bold]Espalier[/] is ready after {time.perf_counter() - began:.1f} s; data in {HOME}, log in {log_file()}\n")


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise SystemExit(f"no free port between {first} and {first + 99}")


NEXT = """
[bold]Next, with photos of your own[/]: one folder a class, at least two of each, for example
  photos/cat/1.jpg  photos/cat/2.jpg  photos/dog/1.jpg  photos/dog/2.jpg  …

  .venv/bin/espalier finetune pets photos --server {url}
  .venv/bin/espalier predict pets photo.jpg --server {url}
  .venv/bin/espalier heads --server {url}

The same with curl:
  curl "{url}/finetune?wait=60" -F head=pets -F images=@1.jpg -F labels=cat -F images=@2.jpg -F labels=dog …
  curl {url}/predict -F head=pets -F images=@photo.jpg

Or with texts: a table messages.csv with the columns text and label
  .venv/bin/espalier finetune intents messages.csv --server {url}
  .venv/bin/espalier predict intents "Where is my card?" --server {url}
"""

if __name__ == "__main__":
    raise SystemExit(main())
