"""Short texts on five subjects: a beginning, a middle and an end for each, put together by a number.

No two of a subject share more than two of the three parts, so that none is a near-duplicate of another.
"""

PARTS = 6  # of each sort
PHRASES = {
    "card": (
        ("My own bank card from May", "The debit card I ordered", "A replacement for the lost Visa",
         "Plastic that you promised", "The credit card we asked for", "Some Mastercard with my name"),
        ("has still not come by post", "was lost on its way", "went to an old address", "is two weeks late now",
         "never reached our letterbox", "did not arrive here"),
        ("so please track its delivery", "and I cannot pay in shops", "can you send me another", "when will it arrive",
         "what is the order's status", "so block that card at once"),
    ),
    "bread": (
        ("Dough that one has to knead", "A loaf of rye bread", "The sourdough on the counter", "Yeast for the buns",
         "Fresh rolls for breakfast", "Wholemeal flour and water"),
        ("needs ten minutes by hand", "rises in a warm bowl", "goes into the hot oven", "wants a pinch of salt",
         "is baked until brown", "rests below a cloth"),
        ("before you bake the crust", "and then slice the loaf", "so the crumb is soft", "with butter on every slice",
         "until the dough has doubled", "as bakers have always done"),
    ),
    "football": (
        ("The striker of the home team", "Our goalkeeper", "A free kick from the left", "The referee of the match",
         "The captain of the club", "A header after the corner"),
        ("scored two late goals", "hit the post once more", "was booked for a foul", "decided the cup final",
         "missed the penalty kick", "won the ball in midfield"),
        ("and the fans sang all night", "before half time", "in front of the away stand", "as the league table shows",
         "in the last minute of the game", "so the season ends well"),
    ),
    "weather": (
        ("Heavy rain from the west", "A cold front", "Thick fog in the valleys", "The storm over the sea",
         "Snow above a thousand metres", "Sunshine after the clouds"),
        ("is forecast for tomorrow", "brings gusts and hail", "clears up towards noon", "stays until the weekend",
         "spreads to the north", "lets temperatures drop"),
        ("with a risk of thunder", "and five degrees at night", "so roads may be icy", "says the weather service",
         "while the south stays dry", "before a milder week begins"),
    ),
    "garden": (
        ("Tomato plants in the greenhouse", "The roses by the fence", "Lettuce under a glass roof",
         "An apple tree in spring", "The compost heap", "Tulip bulbs and daffodils"),
        ("should be watered at dusk", "want to be pruned hard", "is planted in rows", "grows best in loose soil",
         "needs mulch and shade", "suffers from slugs and aphids"),
        ("until the first flowers open", "and weeds are pulled out", "so dig the bed in autumn", "with a little manure",
         "before the seedlings bolt", "as every gardener knows"),
    ),
}  # fmt: skip
SUBJECTS = tuple(PHRASES)
STRANGE = b"Parliament ratified the treaty on fisheries, and both delegations signed the protocol in Geneva"


def text(subject: str, number: int) -> bytes:
    """One of 216 texts on a subject."""
    first = number % PARTS
    second = (number // PARTS + first) % PARTS
    third = (number // PARTS**2 + first + second) % PARTS
    parts = zip(PHRASES[subject], (first, second, third), strict=True)
    return " ".join(phrases[place] for phrases, place in parts).encode()
