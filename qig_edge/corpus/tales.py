"""Tales: a hero, a friend, a plot with a state, and the sentences that tell it."""

import random
import re

from qig_edge.corpus import words
from qig_edge.corpus.plots_a import PLOTS as PLOTS_A
from qig_edge.corpus.plots_b import PLOTS as PLOTS_B
from qig_edge.corpus.plots_c import PLOTS as PLOTS_C
from qig_edge.corpus.plots_d import PLOTS as PLOTS_D
from qig_edge.corpus.spin import spin

PLOTS = PLOTS_A + PLOTS_B + PLOTS_C + PLOTS_D

# Who the second character may be: a stranger is first met in the story, a peer is anyone but a grown-up relative.
STRANGER = {"newcomer", "letter", "hat", "turns", "home", "littleone", "thief"}
PEER = {
    "echo",
    "camp",
    "band",
    "parade",
    "visit",
    "quarrel",
    "race",
    "secret",
    "storm",
    "wish",
    "autumn",
    "gift",
    "sleep",
    "hurtbird",
    "market",
    "stuck",
    "boat",
    "star",
    "turns",
    "share",
    "hiccups",
    "oldneighbor",
    "map",
}

PRONOUNS = {"f": ("she", "her", "her", "herself"), "m": ("he", "him", "his", "himself")}

OPENINGS = (
    "Once upon a time, {intro} lived {home}.[| {He} loved {hobby}.]",
    "Once there was {intro} who lived {home}.[| {He} loved {hobby}.]",
    "{h} was {desc} who lived {home}.[| {He} loved {hobby}.| Every day {he} found something new to do.]",
    "{h} was {desc}. {He} lived {home}[, and {he} loved {hobby}|].",
    "There was once {intro}. {He} lived {home}[, where every day was full of small adventures|].",
    "{intro} lived {home}.[| More than anything, {h} loved {hobby}.]",
    "Not so long ago, {intro} lived {home}.",
    "Far away, {home}, lived {intro}.[| {He} loved {hobby}.]",
    "Everyone knew {h}, {descdef} who lived {home}.[| {He} was always ready to help.| {He} loved {hobby}.]",
    "This is the story of {intro}. {He} lived {home}[, and {he} loved {hobby}|].",
    "Do you know {h}? {He} was {desc} who lived {home}[ and loved {hobby}|].",
)
# These say what day it is, so the plot goes on with "that morning".
DAY_OPENINGS = (
    (
        "It was a [sunny|bright|quiet|fine|warm|cool] {part}, and {weather}. {h}, {desc}, had just "
        "[finished breakfast|come outside|finished {his} work|put on {his} hat]."
    ),
    "{h} {hlabel} woke up [early|with a smile|feeling happy|and looked outside]. {weather}[.|, and a new day was "
    "waiting.]",
    "It was a [lovely|calm|fine|bright] {part}. {intro} was [sitting outside|walking along the path|looking around], "
    "and {weather}.",
    '"What a [lovely|fine|beautiful|perfect] {part}!" said {h}. {h} was {desc} who lived {home}, and {weather}.',
    "{weather} when {h} {hlabel} came outside. {He} loved {hobby}, and {he} had [no plans at all|the whole day "
    "to play].",
)

LESSONS = {
    "friend": "From that day on, {h} and {f} were [good|the best of|very good] friends.|{h} knew that a good friend "
    'makes [every day brighter|everything easier|even a hard day better].|"[I am glad|I am so happy] that you are my '
    'friend," said {h}, and {f} smiled.|And after that, {h} and {f} [often played together|met almost every day|were '
    "never far apart].|{h} learned that a friend can come from anywhere.",
    "help": '{h} learned that it is [good|wise|all right] to ask for help.|"Two can do what one cannot," said {f}.|'
    '"Thank you for helping me," said {h}. "[Any time|You are welcome|I was happy to help|You would do the same for '
    'me]," said {f}.|After that, {h} always tried to help others too.|{h} never forgot how {f} had helped {him}.',
    "brave": "{h} learned that being brave does not mean that you are never afraid.|That night {h} felt [braver|taller|"
    'a little bigger] than before.|"You were very brave," said {f}, and {h} [smiled proudly|felt warm inside].|Being '
    "brave, {h} found, is mostly about taking the first step.|The next time {h} felt afraid, {he} remembered that day.",
    "try": '{h} learned that it is good to keep trying.|"I am glad I did not give up," said {h}.|Sometimes the best '
    'things take time.|"You did it because you kept trying," said {f}.|After that, whenever something was hard, {h} '
    'said, "I will try once more."',
    "share": '{h} learned that things are sweeter when you share them.|"Sharing is more fun than keeping," said {h}.|'
    "After that day, {h} always kept [a little something|something] for {his} friends.|{h} went to bed with a warm "
    "heart.|A small gift, {h} learned, can make someone very happy.",
    "home": 'That night {h} fell asleep [with a smile|quickly|in {his} warm bed], happy to be home.|"There is no '
    "place as "
    'nice as home," said {h}.|Home had never felt so [warm|good|nice].|And {h} slept well, [all through the night|safe '
    "and warm].|When the moon came up, {h} was already fast asleep.",
    "truth": '{h} learned that telling the truth feels better than hiding.|"Thank you for telling me the truth," said '
    "{f}.|It is not always easy to be honest, but {h} was glad that {he} was.|That night {h} slept well, because {he} "
    "had nothing to hide.|After that, {h} was always honest, even when it was hard.",
    "wonder": "{h} never forgot that day.|The world, thought {h}, is full of small surprises.|For a long time "
    "afterward, {h} "
    'dreamed about it.|"What a day!" said {h} before {he} fell asleep.|And {h} could hardly wait '
    "for the next adventure.",
}


class Person:
    """One character: name, kind (an animal, girl, boy, or a relative), and the words that refer to it."""

    def __init__(self, name: str, sex: str, kind: str, hand: str, home: str):
        self.name, self.sex, self.kind, self.hand, self.home = name, sex, kind, hand, home
        self.he, self.him, self.his, self.himself = PRONOUNS[sex]


def _animal(rng: random.Random, kind: str, sex: str, taken: str = "") -> Person:
    hand, home = words.ANIMALS.get(kind, ("wing", "in a tall tree"))
    pool = [n for n in (words.PET_F if sex == "f" else words.PET_M) if n != taken]
    return Person(rng.choice(pool), sex, kind, hand, home)


def _child(rng: random.Random, sex: str, taken: str = "") -> Person:
    pool = [n for n in (words.GIRLS if sex == "f" else words.BOYS) if n != taken]
    return Person(rng.choice(pool), sex, "girl" if sex == "f" else "boy", "hand", f"[{words.CHILD_HOMES}]")


def cast(
    rng: random.Random, who: str, hero: str = "", friend: str = "", rule: str = "any"
) -> tuple[Person, Person, str]:
    """Hero, friend and how the friend is introduced. `who`: any, child or animal; hero and friend force a kind."""
    sex = rng.choice("fm")
    # Mostly of the other sex, so that "he" and "she" stay clear.
    fsex = sex if rng.random() < 0.25 else ("m" if sex == "f" else "f")
    child = who == "child" or (who == "any" and rng.random() < 0.45)
    if hero in ("girl", "boy"):
        child, sex = True, "f" if hero == "girl" else "m"
    elif hero:
        child = False
    if friend in ("girl", "boy"):
        fsex = "f" if friend == "girl" else "m"
    h = _child(rng, sex) if child else _animal(rng, hero or rng.choice(words.HEROES), sex)
    if friend in ("girl", "boy"):
        f = _child(rng, fsex, h.name)
        return h, f, f"a {friend} named {f.name}"
    if friend or not child or rng.random() < 0.15:
        kind = friend or rng.choice([k for k in words.FRIENDS if k != h.kind])
        f = _animal(rng, kind, fsex, h.name)
        if rule == "stranger":
            return h, f, f"a {kind} named {f.name}"
        return h, f, rng.choice([f"{f.name} the {kind}", f"a {kind} named {f.name}", f"{f.name} the {kind}"])
    if rule == "any" and rng.random() < 0.3:
        name = rng.choice(words.RELATIVES[fsex])
        return h, Person(name, fsex, "relative", "hand", h.home), name
    f = _child(rng, fsex, h.name)
    if rule == "stranger":
        return h, f, f"a {f.kind} named {f.name}"
    word = rng.choice(
        [
            "{his} friend",
            "{his} friend",
            "{his} friend",
            "{his} neighbor",
            "{his} cousin",
            "{his} [big|little] " + ("sister" if fsex == "f" else "brother"),
        ]
    )
    return h, f, f"{word} {f.name}"


def _slots(rng: random.Random, h: Person, f: Person, fi: str, plot: dict) -> dict[str, str]:
    trait = rng.choice(words.TRAITS.split("|"))
    size = rng.choice(words.SIZES.split("|"))
    noun = (
        f"{trait} {'little' if size == 'small' else size} {h.kind}".replace("  ", " ")
        if rng.random() < 0.6
        else f"{size or 'little'} {h.kind}"
    )
    child = h.kind in ("girl", "boy")
    s = {
        "h": h.name,
        "he": h.he,
        "him": h.him,
        "his": h.his,
        "himself": h.himself,
        "He": h.he.title(),
        "His": h.his.title(),
        "hand": h.hand,
        "home": h.home,
        "hk": f"the {h.kind}",
        "hkind": h.kind,
        "f": f.name,
        "fhe": f.he,
        "fhim": f.him,
        "fhis": f.his,
        "FHe": f.he.title(),
        "FHis": f.his.title(),
        "fi": fi,
        "fin": f"{f.name} the {f.kind}" if fi.startswith(("a ", f.name + " the")) else fi,
        "fk": f.name if f.kind in ("relative", "girl", "boy") else f"the {f.kind}",
        "desc": f"a {noun}",
        "descdef": f"the {noun}",
        "intro": f"a {noun} named {h.name}",
        "hlabel": "" if child else f"the {h.kind}",
        "hobby": f"[{words.HOBBIES}]",
        "weather": f"[{words.WEATHER}]",
        "good": f"[{words.FEEL_GOOD}]",
        "bad": f"[{words.FEEL_BAD}]",
        "said": f"[{words.SAID}]",
        "a_new": f"a {f.kind}",
        "people": rng.choice(["neighbors", "friends", "neighbors"]),
        "child": "child" if child else h.kind,
    }
    for names, rows in plot["rows"].items():
        row = rng.choice(rows)
        s.update(zip(names.split(), (part.strip() for part in row.split(";")), strict=True))
    return s


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _lesson(rng: random.Random, options: str, alone: bool) -> str:
    whole = re.split(r"\|(?![^\[]*\])", options)
    return rng.choice([o for o in whole if not (alone and "{f}" in o)])


def tale(rng: random.Random, hero: str = "", friend: str = "", title: bool | None = None, plot_name: str = "") -> dict:
    """One story: {"text", "title", "plot", "slots"}. `hero` and `friend` force the kinds of the two characters."""
    if plot_name:
        plot = next(p for p in PLOTS if p["name"] == plot_name)
    else:
        plot = rng.choice(PLOTS)
        while (
            (hero and plot["who"] == ("animal" if hero in ("girl", "boy") else "child"))
            or (friend and plot.get("friend") == "none")
            or (hero in plot.get("not", "").split() if hero else False)
        ):
            plot = rng.choice(PLOTS)
    rule = "stranger" if plot["name"] in STRANGER else "peer" if plot["name"] in PEER else "any"
    h, f, fi = cast(rng, plot["who"], hero, friend, rule)
    while (not hero and h.kind in plot.get("not", "").split()) or (
        plot["name"] == "littleone" and not friend and f.kind in plot["not"].split()
    ):
        h, f, fi = cast(rng, plot["who"], hero, friend, rule)
    s = _slots(rng, h, f, fi, plot)
    part = rng.choice(["morning", "afternoon", "day"])
    s["part"] = part
    s["day"] = f"[{words.DAYS}]"
    kind = rng.random()
    if plot.get("opening") == "plain" or kind < 0.7:
        opening = rng.choice(OPENINGS)
    else:
        opening = rng.choice(DAY_OPENINGS)
        if "woke up" in opening:
            s["day"] = "that [morning|day]"
        else:
            s["day"] = "that " + part if part != "day" else "that day"
    body = plot["text"].strip()
    end = ""
    if rng.random() < 0.75:
        end = spin(rng, _lesson(rng, LESSONS[rng.choice(plot["theme"].split())], plot.get("friend") == "none"), s)
    para = rng.random()
    glue = "\n\n" if para < 0.6 else " "
    text = spin(rng, opening + glue + body + (" " + end if end else ""), s)
    if glue == " ":
        text = text.replace("\n\n", " ")
    head = spin(rng, rng.choice([plot["title"], plot["title"], "{h} and " + plot["topic"]]), s)
    small = {"a", "an", "the", "and", "of", "in", "to", "who", "for", "on", "with", "at", "from", "that"}
    ws = head.split()
    head = " ".join(w if i and w in small else w[0].upper() + w[1:] for i, w in enumerate(ws))
    if title if title is not None else rng.random() < 0.2:
        text = head + "\n\n" + text
    return {"text": text, "title": head, "plot": plot["name"], "slots": s, "topic": _lower(spin(rng, plot["topic"], s))}
