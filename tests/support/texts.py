"""Messages to a bank by what they are about, written for these tests: enough for a small head."""

INTENTS = {
    "card": [
        "Where is my card?", "My new card has still not come", "When will the card you sent arrive?",
        "I ordered a card two weeks ago and nothing came", "Has my card been posted yet?",
        "How long does it take until a card is delivered?", "Can you track the delivery of my card?",
        "The mail was here and there was no card in it", "I moved, did the card go to my old address?",
        "Please tell me the status of my card order", "Still waiting for a replacement card",
        "No sign of it so far",
    ],
    "money": [
        "Can I exchange pounds for euros?", "What is your exchange rate today?", "Which currencies do you support?",
        "How much do you charge to convert dollars?", "I want to hold Swiss francs in my account",
        "The rate for yen looks wrong", "Do you exchange Polish zloty?", "Is there a fee on foreign currency?",
        "I was given a bad rate when I paid in Sweden", "Convert my balance to US dollars",
        "At which time of the day is the rate set?", "Exchanging money abroad, what does it cost?",
    ],
    "code": [
        "I forgot my PIN", "How do I change the code of my account?", "My passcode does not work any more",
        "Wrong PIN three times and now I am locked out", "Please reset my password",
        "The app asks for a code that I never set", "Where can I set a new PIN?", "Unblock my PIN please",
        "I cannot log in, it says that the password is wrong", "How do I get a new passcode by text message?",
        "Is it safe to keep the same PIN for years?", "The login code never reached my phone",
    ],
}  # fmt: skip
ASKED = {"card": "has the card been sent out yet", "money": "what rate do you give for dollars", "code": "reset my PIN"}


def labeled() -> list[tuple[str, str]]:
    """(text, label) of all of them."""
    return [(text, label) for label, texts in INTENTS.items() for text in texts]


def table() -> str:
    """The same as a CSV file with the columns text and label."""
    return "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in labeled())
