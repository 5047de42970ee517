"""Very short stories of four to seven sentences, for answers that have to be brief."""

import random

from qig_edge.corpus import words
from qig_edge.corpus.spin import spin

# {x} and {y} are kinds of characters with names {xn} and {yn}; {day} and the pronouns are as in tales.
TWO = (
    "[Once there was|There was once] a [little|small|kind|young] {x} named {xn}. {day}, {xn} met a {y} "
    "named {yn}. [{yn} was sad|{yn} looked lonely] "
    'because {ywhy}. "{offer}," said {xn}. [{yn} smiled.|{yn} was very glad.] [From then on, they were '
    "friends.|They played until the sun went down.]",
    "A {x} named {xn} [wanted|tried] to {task}, but {he} could not do it alone. {He} asked a {y} named {yn} for "
    'help. "[Of course|Gladly|Let us do it '
    'together]," said {yn}. The {x} [pushed|held on], and the {y} pulled. [Soon|At last] it was done. "[Thank '
    'you|We did it]!" said {xn}.',
    "{day}, a {x} and a {y} had a race [to the old tree|around the pond|up the hill]. The {x} ran fast, but {he} "
    "stopped to [look at a butterfly|eat some "
    "berries|take a nap]. The {y} was slow, but {yhe} did not stop. [The {y} won the race.|They came in at the "
    'same time.] [They both laughed.|"Well done," '
    "said the {x}.]",
    "There was a {x} named {xn} who had {many}. A {y} named {yn} had none. {xn} [thought about it|looked at them "
    'all] and gave half of them to {yn}. "[Why did '
    'you do that|Are you sure]?" asked {yn}. "[Things taste better when we share|It is more fun to share]," '
    "said {xn}. [So they sat down and ate together.|And so "
    "they became friends.]",
    'One night, a {x} named {xn} heard a noise. "Who is there?" {he} [asked|called]. It was only a {y} '
    "named {yn}, who had lost {yhis} way. {xn} gave {yhim} [a warm "
    "blanket|some soup|a cup of milk] and let {yhim} sleep by the fire. In the morning, {xn} showed {yhim} the "
    'way home. [{yn} never forgot it.|"You are very kind," '
    "said {yn}.]",
    'A {x} and a {y} found {found} [in the grass|by the river|on the path]. "[It is mine|I saw it first]," '
    'said the {x}. "No, it is mine," said the {y}. They [argued|quarreled] '
    'all morning. Then they [looked at each other and laughed|grew tired of it]. "[Let us share it|We can take '
    'turns]," said the {y}, and they did.',
    "{day}, it began to rain. A {x} named {xn} sat under a big leaf and stayed dry. A {y} named {yn} came by, "
    'wet and cold. "[Come under my leaf|There is room for '
    'two]," said {xn}. They [sat close together|told each other stories] until the rain stopped. [Then they saw '
    "a rainbow.|Then they jumped in the puddles.]",
)
ONE = (
    "[Once there was|There was once] a [little|small|shy|brave] {x} named {xn} who {wish}. {He} tried [once|in "
    "the morning], but it did not work. {He} tried again [the next "
    "day|in the evening], and it was a little better. [{xn} kept trying|{He} did not give up]. After [a week|"
    "many days], {he} could do it. {xn} was [so proud|very happy].",
    "{day}, a {x} named {xn} lost {his} {thing}. {He} looked [under the bed|behind the door] and [in the garden|"
    "on the shelf], but it was not there. Then {xn} laughed. "
    '{He} was [sitting on it|wearing it all the time]! ["Silly me," {he} said.|After that, {he} always looked '
    "twice.]",
    "There was a {x} named {xn} who was afraid of the dark. One night, {he} [opened the curtain|went outside] "
    'and looked up. The sky was full of stars. "[How beautiful|Oh, how '
    'lovely]," said {xn}. [After that, {he} was not afraid anymore.|Now {he} knew that the dark can be beautiful.]',
    "A {x} named {xn} planted a seed. Every day {he} gave it water and waited. [At first nothing happened.|For "
    "many days there was only earth.] Then a green leaf came up. In the "
    "summer, there was a [yellow sunflower|red rose|fat orange pumpkin]. {xn} [smiled|danced around it].",
    "{day}, a {x} named {xn} baked a cake. The smell went through the whole [street|forest]. One by one, "
    'the {people} came to the door. "[Come in|There is enough for all]," said '
    "{xn}. They ate every crumb. [It was the best party ever.|Everyone went home happy.]",
    "A {x} named {xn} saw a bird that could not fly. {He} put it in a soft nest and gave it seeds. Every day the "
    "bird grew stronger. Then it spread its wings and flew up into the "
    "sky. {xn} [waved|was sad and happy at the same time]. The next morning, the bird came back to sing for {him}.",
)
_POOLS = {
    "ywhy offer": [
        "{yhe} had no one to play with;[You can play with me|Come and play with me]",
        "{yhe} had lost {yhis} ball;[Let us look for it together|I will help you find it]",
        "{yhe} was hungry;[You can have half of my bread|Come and eat with me]",
        "it was raining on {yhis} birthday;[Then let us dance in the rain|We can have a party inside]",
    ],
    "task": [
        "move a big rock",
        "pull a huge turnip out of the ground",
        "carry a heavy basket home",
        "push a cart up the hill",
        "pull a boat out of the water",
    ],
    "many": ["ten red apples", "a bag of nuts", "a basket of berries", "six sweet plums", "eight cookies"],
    "found": ["a shiny coin", "a red balloon", "a straw hat", "a silver bell", "a big orange pumpkin"],
    "wish": [
        "wanted to whistle",
        "wanted to learn to read",
        "wanted to jump over the fence",
        "wanted to sing a high note",
        "wanted to climb the hill",
    ],
}


def mini(rng: random.Random, x: str = "", y: str = "") -> tuple[str, str, str]:
    """(story, kind of the first character, kind of the second or "")."""
    kinds = list(words.ANIMALS) + ["girl", "boy", "girl", "boy"]
    x = x or rng.choice(kinds)
    two = bool(y) or rng.random() < 0.5
    y = y or (rng.choice([k for k in kinds if k != x]) if two else "")

    def person(kind: str, taken: str) -> tuple[str, str]:
        sex = {"girl": "f", "boy": "m"}.get(kind) or rng.choice("fm")
        human = kind in ("girl", "boy")
        pool = (words.GIRLS if sex == "f" else words.BOYS) if human else (words.PET_F if sex == "f" else words.PET_M)
        return rng.choice([n for n in pool if n != taken]), sex

    forms = {"f": ("she", "her", "her"), "m": ("he", "him", "his")}
    xn, xs = person(x, "")
    yn, ys = person(y or "fox", xn)
    he, him, his = forms[xs]
    yhe, yhim, yhis = forms[ys]
    s = {
        "x": x,
        "y": y,
        "xn": xn,
        "yn": yn,
        "he": he,
        "him": him,
        "his": his,
        "He": he.title(),
        "yhe": yhe,
        "yhim": yhim,
        "yhis": yhis,
        "day": f"[{words.DAYS}]",
        "people": "neighbors",
        "thing": rng.choice(["hat", "scarf", "cap"]),
    }
    for names, rows in _POOLS.items():
        s.update(zip(names.split(), rng.choice(rows).split(";"), strict=True))
    return spin(rng, rng.choice(TWO if two else ONE), s), x, y
