"""The lexicon of the tales: who can be in one, what they are like, and where they live."""


def _names(text: str) -> list[str]:
    return text.split()


GIRLS = _names("""
Mia Lily Anna Ella Rosa Nora Lucy Zoe Ruby Ivy Clara Amy Hana Leila Maya Tara Nina Sofia Kate Bella Emma Molly Daisy
Holly Jane Sara Eva Lena Priya Amina Yuki Carla Wendy Penny Alice
""")
BOYS = _names("""
Tom Ben Max Leo Sam Jack Finn Noah Omar Theo Adam Luke Ravi Kenji Hugo Oscar Will Joe Dan Eli Milo Peter Paul Ali
Ivan Marco Toby Henry Simon Felix Jamal Nico Arlo Rory
""")
PET_F = _names("""
Pippa Dot Hazel Tilly Poppy Mimi Willow Fern Olive Lulu Nutmeg Pearl Clover Bonnie Maple Peaches Biba Tansy Flora
Minty Honey Juniper Plum Lottie
""")
PET_M = _names("""
Pip Bo Rusty Bram Otto Hopper Bumble Gus Patch Tuck Moss Biscuit Pepper Digby Benny Oli Fuzz Barley Sunny Chip
Wilbur Nibbler Dusty Monty Tumble
""")

# kind: (word for its hand, home)
ANIMALS = {
    "rabbit": ("paw", "in a [snug|warm|tidy] burrow [under a green hill|at the edge of a meadow|behind a hedge]"),
    "fox": ("paw", "in a [snug|warm|quiet] den [at the edge of the forest|under a hill|near a stream]"),
    "bear": ("paw", "in a [big|cool|quiet] cave [in the mountains|in the forest|near a waterfall]"),
    "mouse": ("paw", "in a [tiny|neat|warm] hole [under the kitchen floor|in an old stone wall|behind the barn]"),
    "squirrel": ("paw", "in [a tall oak tree|a hollow tree|an old pine tree]"),
    "hedgehog": ("paw", "under a [pile of leaves|thick hedge] [in a garden|near the forest|behind a farmhouse]"),
    "otter": ("paw", "beside a [clear|winding|busy] river"),
    "badger": ("paw", "in a [deep|tidy|warm] den [under the roots of a tree|in the forest]"),
    "mole": ("paw", "in a [long|dark|tidy] tunnel under [a garden|a field|the meadow]"),
    "cat": ("paw", "[on a small farm|in a house by the sea|in a [yellow|blue|white] house with a big garden]"),
    "dog": ("paw", "[on a small farm|in a house by the sea|in a [yellow|red|white] house with a big garden]"),
    "kitten": ("paw", "[on a small farm|in a warm little house|in a barn full of hay]"),
    "puppy": ("paw", "[on a small farm|in a warm little house|in a house near the park]"),
    "frog": ("foot", "beside a [quiet|green|small] pond"),
    "turtle": ("foot", "beside a [quiet|clear|small] lake"),
    "duck": ("wing", "beside a [quiet|clear|small] pond"),
    "penguin": ("wing", "[on a snowy island|near the cold sea]"),
    "beaver": ("paw", "in a [strong|round] lodge on the river"),
    "panda": ("paw", "in a [green|quiet] forest of bamboo"),
    "elephant": ("foot", "[near a wide river|on a sunny plain]"),
    "lamb": ("foot", "on a [green|small|quiet] farm"),
    "pony": ("foot", "on a [green|small|quiet] farm"),
}
# Common heroes are listed more than once.
HEROES = list(ANIMALS) + ["rabbit", "fox", "mouse", "bear", "squirrel", "hedgehog", "cat", "dog", "otter"] * 2
FRIENDS = HEROES + ["owl", "robin", "crow", "goose", "goat"] * 2
CHILD_HOMES = (
    "in a [small|quiet|busy] village|in a [white|blue|yellow|red] house by the sea|on a farm at the bottom of a hill"
    "|in a little house near the forest|on the top floor of a tall building|in a [small|sunny|quiet] town by a river"
    "|in a house with a [green|red|blue] door|at the end of a long street"
)
TRAITS = "kind|cheerful|curious|quiet|gentle|clever|playful|friendly|brave|careful|shy|lively|thoughtful|merry|busy"
SIZES = "little|small|young|little|"
HOBBIES = (
    "to sing [in the morning|while {he} worked|to the birds]|to ask questions|to look at the stars|to collect [smooth "
    "stones|colorful leaves|feathers|buttons]|to run [in the grass|through the meadow|up the hill]|to draw|to "
    "listen to "
    "stories|to dance in the rain|to help others|to play outside|to watch the clouds|to make things|to tell jokes"
    "|to splash in puddles|to learn new things|to count things|to pick flowers|to take long walks|to laugh"
)
RELATIVES = {"f": ["Grandma", "Mom", "Aunt Rose", "Aunt May"], "m": ["Grandpa", "Dad", "Uncle Ned", "Uncle Jim"]}
DAYS = (
    "one [sunny|bright|quiet|warm|fine|cool|clear|busy|beautiful] [morning|afternoon|day]|one [morning|day|afternoon]"
    "|early one morning|one [spring|summer|autumn] [day|morning|afternoon]|on a [sunny|bright|warm|fine|cool] "
    "[morning|day|afternoon]|on [Monday|Tuesday|Saturday|Sunday] morning|after breakfast|one day after lunch"
)
WEATHER = (
    "the sun was [shining|warm and bright]|the sky was [blue|clear|full of soft white clouds]|a [soft|gentle|"
    "cool] wind "
    "was blowing|the birds were singing|the air smelled of [flowers|grass|pine trees|fresh bread]|the grass was still "
    "wet with dew|bees were humming in the flowers"
)
FEEL_GOOD = "happy|glad|proud|very happy|full of joy|so happy|cheerful|pleased"
FEEL_BAD = "sad|upset|worried|a little sad|very sad|disappointed|unhappy"
SAID = "said|said|said|answered|replied"
