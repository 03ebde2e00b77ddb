r"""Units and counted things after a number: which may be left out of an answer, and which make it another answer.

Only units in the tables are removed, and only after a value. Words that are in no table (`not`, `or more`, `dozen
pairs`) stay, and an answer with words in it equals only the same words. A unit may be left out on one side; if both
sides have one, it must be the same unit, abbreviated or not.
"""

import re
from decimal import Decimal

UNITS = {
    "meter": "meters metre metres m",
    "kilometer": "kilometers kilometre kilometres km kms",
    "centimeter": "centimeters centimetre centimetres cm cms",
    "millimeter": "millimeters millimetre mm",
    "inch": "inches in",
    "foot": "feet ft",
    "yard": "yards yd yds",
    "mile": "miles mi",
    "acre": "acres",
    "second": "seconds sec secs s",
    "minute": "minutes min mins",
    "hour": "hours hr hrs h",
    "day": "days",
    "week": "weeks wk wks",
    "month": "months",
    "year": "years yr yrs",
    "degree": "degrees deg",
    "gram": "grams g",
    "kilogram": "kilograms kg kgs kilos",
    "milligram": "milligrams mg",
    "ton": "tons tonnes",
    "pound": "pounds lb lbs",
    "ounce": "ounces oz",
    "liter": "liters litre litres L",
    "cup": "cups",
    "milliliter": "milliliters millilitre ml mL",
    "gallon": "gallons gal",
    "quart": "quarts",
    "pint": "pints",
    "dollar": "dollars USD bucks",
    "cent": "cents",
    "euro": "euros EUR",
    "rupee": "rupees",
    "yuan": "元",
    "degree celsius": "",
    "degree fahrenheit": "",
    "radian": "radians rad",
    "calorie": "calories",
    "unit": "units",
    "mile/hour": "mph",
    "kilometer/hour": "kph kmh",
    "a.m.": "am",
    "p.m.": "pm",
    "joule": "joules",
    "newton": "newtons",
    "watt": "watts",
    "volt": "volts",
    "tablespoon": "tablespoons",
    "teaspoon": "teaspoons",
}
"""Unit -> its other spellings."""
COUNTED = """
    adults animals answers apples arrangements bags balls balloons bananas beads birds blocks boards books bottles boxes
    boys bricks buttons cakes calls candies candles candy cans cards carrots cars cats cents chairs chickens children
    chocolates choices classes clips coins colors combinations cookies cows crayons cupcakes customers daps digits
    dinners dogs dolls dozens ducks edges eggs employees envelopes episodes faces factors families fish flowers
    friends frogs fruits functions games girls goals goats guests horses houses integers intersections items jars jumps
    kids lambs laps legs lemons letters lines loaves logs marbles matches meals members men messages minutes movies
    muffins nails notebooks numbers oranges outcomes packages packs pages paintings pairs paths pears pebbles pencils
    pens people permutations persons pets photos pictures pieces pies pills pizzas places plants plates players points
    polygons possibilities potatoes presents primes problems questions rabbits rectangles roots roses rooms rows seats
    seashells seats seconds seeds sequences servings sheep sheets shells shirts shoes sides slices solutions songs
    squares stamps steps stickers students subsets sweets teachers teams terms tickets tiles times tomatoes toys trees
    triangles trips turns turtles values vertices visitors votes ways weeks wheels windows women words workers zeros
"""
QUALITIES = """
    additional black blue brown different distinct female green integer large male new positive possible prime red real
    right small total white whole yellow more
"""
MULTIPLIERS = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
CURRENCIES = {r"\$": "dollar", "€": "euro", "£": "pound sterling", "¥": "yen"}
NOT_COUNTED = {"dozens", "pairs", "cents", "minutes", "seconds", "weeks", "more"}
"""Words of these lists that multiply, or are units: `3 pairs` is not 3."""

WORD = r"\\text\{([^{}]*)\}"
POWER = r"(?:\^\s*\{?\s*(-?\d)\s*\}?)"
UPRIGHT = re.compile(rf"(?:\s*(?:{WORD}|(?<=\}})\s*(?:/|\\cdot))\s*{POWER}?)+$")
BARE = re.compile(rf"(?<=[\d}})])(?:\s+[a-zA-Z.]{{2,}}(?:[ /]+[a-zA-Z.]+)*|cm|km|mm|kg|mph|[a-z]{{4,}}){POWER}?$")
ORDINAL = re.compile(r"^(\d+)(?:\s*\^?\s*\{?\s*\\text\{(?:st|nd|rd|th)\}\s*\}?|(?<=1)st|(?<=2)nd|(?<=3)rd|th)$")
MULTIPLIED = re.compile(rf"(?<![\d.^_{{])(\d+(?:\.\d+)?)\s*(?:\\text\{{)?\s*({'|'.join(MULTIPLIERS)})\b(?!s)\s*(\}}?)")


def _spellings() -> dict[str, str]:
    table = {form: name for name, forms in UNITS.items() for form in (name, *forms.split())}
    for plural in set(COUNTED.split()) - NOT_COUNTED:
        singular = re.sub(r"(?<=i)es$", "", plural) if plural.endswith("ies") else plural.removesuffix("s")
        table.setdefault(plural, plural)
        table.setdefault(re.sub(r"i$", "y", singular), plural)
    return table | {form.casefold(): name for form, name in table.items() if len(form) > 1}


SPELLINGS = _spellings()
ADJECTIVES = set(QUALITIES.split()) - NOT_COUNTED


def split_unit(text: str) -> tuple[str, str]:
    r"""(value, unit) of one value as `tidy` leaves it: `5 \text{cm}^2` is ("5", "centimeter^2")."""
    text = MULTIPLIED.sub(_multiply, text).strip()
    if ordinal := ORDINAL.match(text):
        return ordinal.group(1), ""
    for sign, currency in CURRENCIES.items():
        if (amount := re.fullmatch(rf"([+-]?)\s*{re.escape(sign)}\s*(.*)|(.*?)\s*{re.escape(sign)}", text)) is not None:
            value, unit = split_unit(f"{amount.group(1) or ''}{amount.group(2) or amount.group(3) or ''}")
            return value, unit if unit.startswith(currency) else f"{currency}{unit}"
    for pattern in (UPRIGHT, BARE):
        match = pattern.search(text)
        if match and match.start() and (unit := _unit(match.group())):
            return text[: match.start()].strip(), unit
    return text, ""


def _multiply(match: re.Match) -> str:
    number = Decimal(match.group(1)) * MULTIPLIERS[match.group(2)]
    upright = r"\text{" if match.group().rstrip("} ").find(r"\text{") >= 0 and not match.group(3) else ""
    return f"{number.normalize():f} {upright}"


def _unit(text: str) -> str:
    """The canonical name of a unit, with powers and quotient; empty unless all of it is in a table."""
    words = re.sub(WORD, r" \1 ", text).replace(r"\cdot", " ").replace("{", "").replace("}", "")
    words = re.sub(r"(?<![\w.])(?:per|an?)(?![\w.])", lambda word: "/" if word.group() == "per" else "", words)
    factors = [_factor(part.split()) for part in words.strip().split("/")]
    if not factors[0] and words.strip().startswith("/"):
        factors[0] = "1"
    return "/".join(factors).removeprefix("1") if all(factors) else ""


def _factor(words: list[str]) -> str:
    power, kept = 1, []
    for word in " ".join(words).replace(" ^", "^").replace("^ ", "^").split():
        name, _, exponent = word.partition("^")
        name = name if name.casefold() in ("a.m.", "p.m.") else name.rstrip(".")
        power *= {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}.get(name.casefold(), 1)
        power *= int(exponent) if exponent else 1
        if name.casefold() not in ("square", "sq", "squared", "cubic", "cu", "cubed") and name not in ADJECTIVES:
            kept.append(name)
    unit = _temperature(kept) or (len(kept) == 1 and (SPELLINGS.get(kept[0]) or SPELLINGS.get(kept[0].casefold())))
    return (unit if power == 1 else f"{unit}^{power}") if unit else ""


def _temperature(words: list[str]) -> str:
    if len(words) == 2 and words[0] == "degrees":
        return {"C": "degree celsius", "F": "degree fahrenheit", "Celsius": "degree celsius"}.get(words[1], "")
    return ""
