"""S, the swap of speaker and addressee, on English text and on token ids: who does what to whom, exchanged.

    swap_roles("Will you help me? I am sure you can.")      "Will I help you? You are sure I can."
    returns(text)                                           whether swapping twice gives `text` again
    token_swap(tokenizer)                                   int32[V], a permutation that is its own inverse

Exchanged are I or me and you, my and your, mine and yours, myself and yourself, the contractions I'm/you're, I've/you've, I'll/you'll and I'd/you'd,
am and are, was and were beside such a subject, and the names of the two roles where a conversation is written out (`<|user|>`, or `User:` at the
start of a line). "We" holds both and stays, and so do formulas that either side says as they are ("Thank you.", "Excuse me.").

English writes one "you" for subject and object. Which of the two stands at a place is decided by its position: a rule that sees only words
that S leaves alone, or the class that S keeps, so that it decides the same in a text and in its twin. S is therefore an involution on every text
whose own I and me stand where that rule expects them, whose "I" is a capital and whose sentences begin with one. It is none elsewhere, and
returns() tells: "Me and Tom went" (comes back with I), "you aren't" (I'm not, you're not), a "you" that opens a sentence in
lower case (comes back as "You"), "i", capitals throughout (I loses them), "Thank me!", was and were against the grammar ("you was"). A "you"
whose place the rule misjudges still becomes a first person, in the wrong case, and comes back as it was. An imperative has no subject to
exchange: "Tell me" becomes "Tell you". Not seen at all: "I" as a number or a letter (World War I), roles that nouns carry (buyer and seller), other
languages.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SUBJECT, OBJECT = "subject", "object"

# Compounds (do-it-yourself, I-beam, you@there) are one word, and no role word.
_WORD = re.compile(r"\w+(?:['’@-]\w+)*")
# Between two words: what ends a clause, and what lets the next word begin with a capital.
_CLAUSE = re.compile(r"""[,;:.!?()\[\]"“”…\n—–|]|--| - |^['‘’]|['‘]$""")
_SENTENCE = re.compile(r"""[!?\n]|\.(?!\.)|\|>|["“'‘]$""")
_NAMES = re.compile(r"(<\|)(user|assistant)(?=\|>)|^([ \t]*)(user|assistant)(?=:)", re.IGNORECASE | re.MULTILINE)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# One word each: both directions follow. Subjects and objects are decided by position, so "you" is in none of these.
_PLAIN = {"my": "your", "mine": "yours", "myself": "yourself"}
_PLAIN |= {b: a for a, b in _PLAIN.items()}
_CONTRACTED = {"i'm": "you're", "i've": "you've", "i'll": "you'll", "i'd": "you'd"}
_BE = {"am": "are", "was": "were", "wasn't": "weren't"}
_PRONOUN = "you"  # the class of I, me and you
_CLASSES = {"i": _PRONOUN, "me": _PRONOUN, "my": "your", "mine": "yours", "myself": "yourself", **_CONTRACTED, **_BE}

_BE_FORMS = _set("are were aren't weren't")
_MODALS = _set(
    "will would can could shall should may might must won't wouldn't can't cannot couldn't shan't shouldn't mustn't"
    " does did doesn't didn't don't haven't hadn't"
)
_OPEN_AUX = _set("do have had")  # "do you know", but "I do you a favour"
_FINITE = _MODALS | _OPEN_AUX | _BE_FORMS | _set("ought used")
_ADVERBS = _set(
    "always never really often also still just sometimes only ever not truly probably already usually both once all simply surely gladly"
)
_CONJUNCTIONS = _set(
    "if when that because while what where why how who whom which whether so then though although unless whatever whenever"
    " wherever whoever however now maybe perhaps"
)
_EITHER = _set("since until till as after before but except than once")  # preposition or conjunction
_PREPOSITIONS = _set(
    "to for with from of about at by on in into onto near behind without between against over under around beside besides toward"
    " towards upon through among past off up beyond above below inside outside across along"
)
_CLAUSE_WORDS = _set(
    "think know hope say says said guess sure glad sorry happy sad afraid bet mean meant suppose imagine knew thought understand"
    " feel felt believed hoped guessed certain proud understood"
)
# Verbs with an object of their own, even before a bare infinitive or a second object ("help you find", "give you help").
_OBJECT_VERBS = _set(
    "help helps helped helping let lets letting make makes made making see saw seen hear heard watch watched give gives gave given"
    " giving tell tells told telling show shows showed showing teach taught ask asks asked asking lend lent send sent offer offered"
    " bring brings brought buy bought pay paid owe owes owed love loves loved hate hates hated hurt hurts hit keep kept leave left get"
    " got want wants wanted need needs needed like likes liked have has had call called find found wish promise promised believe"
    " thank thanks trust trusts trusted forgive forgave save saved join miss missed meet met warn warned lets forced force"
)
_VERBS = _set(
    "want need like love hate know knew think thought feel felt see saw hear heard say said tell told ask asked answer go went come came"
    " make made take took get got give gave promise help let live work play read write wrote eat ate drink drank sleep slept"
    " run ran walk sing sang speak spoke talk learn find found lose lost keep kept break broke bring brought buy bought pay"
    " sell sold hold held hurt hit put leave left stay wait win won try use hope wish mean meant believe understand remember forget"
    " forgot become became begin began choose chose cry laugh smile care share trust owe own lend lent borrow return send sent stand"
    " sit sat build built teach taught show look watch call carry cook draw drew drop fall fell fight fix follow forgive hide keep open"
    " plant pick pull push save start stop thank turn visit wash wear wore agree deserve do did have had lie lied"
)
_NO_VERBS = _set(
    "a an the and or nor but to for with from of about at by on in into too very so much more again here there now then today tomorrow"
    " well back home away better best first if when that because as than this these those some any something anything nothing"
    " everything one two three who what where how why while until before after your yours yourself you his her its our their out up"
    " down off over both please soon later yesterday enough"
) | _set("good bad sad happy angry safe sorry glad tired hurt alone")  # fmt: skip
_ALONE = _set("too either neither first next again")
_THIRD = _set("it this that he she they we these those")
_NOUN_BEFORE_MINE = _set("the a an this gold coal iron silver salt old deep dark his her our their its your")
_FORMULAS = {("thank", "you"), ("excuse", "me"), ("pardon", "me"), ("bless", "you")}
_WELCOME = _set("you're are")


class _Line:
    """The words of a text with what lies between them: indices are of words, "" stands for the end of a clause."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.matches = list(_WORD.finditer(text))
        self.words = [m.group().lower().replace("’", "'") for m in self.matches]
        self.classes = [_CLASSES.get(w, w) for w in self.words]
        ends = [0, *(m.end() for m in self.matches)]
        gaps = [text[a : m.start()] for a, m in zip(ends, self.matches, strict=False)]
        self.starts = [i == 0 or bool(_SENTENCE.search(_no_ellipsis(g))) for i, g in enumerate(gaps)]
        self.breaks = [i == 0 or bool(_CLAUSE.search(g)) for i, g in enumerate(gaps)]
        # in order: a pronoun after "and" looks at the one before it
        self.cases: dict[int, str] = {}
        for i, word in enumerate(self.classes):
            if word == _PRONOUN:
                self.cases[i] = self._case(i)

    def before(self, i: int, back: int = 1) -> str:
        """The class of the word `back` places before i, in the same clause."""
        if i - back < 0 or any(self.breaks[i - back + 1 : i + 1]):
            return ""
        return self.classes[i - back]

    def after(self, i: int) -> tuple[int, str]:
        """Index and class of the next word of the clause, adverbs left out."""
        j = i + 1
        while j < len(self.classes) and not self.breaks[j]:
            if self.classes[j] not in _ADVERBS:
                return j, self.classes[j]
            j += 1
        return j, ""

    def _case(self, i: int) -> str:
        """SUBJECT or OBJECT for the pronoun at i, from classes alone."""
        # the word before, adverbs left out ("it was not you")
        at = i - 1
        while self.before(at + 1) in _ADVERBS:
            at -= 1
        previous = self.before(at + 1)
        earlier = self.before(at) if previous else ""
        j, following = self.after(i)
        verb = following in _FINITE or following in _VERBS or bool(re.fullmatch(r"[a-z]{3,}ed", following))
        predicate = following != "" and following not in _NO_VERBS
        if previous == "":
            alone = following == "" or (following in _ALONE and self.after(j)[1] == "")
            subject = not alone
        elif previous in ("and", "or", "nor"):
            subject = verb or self.cases[at - 1] == SUBJECT if earlier == _PRONOUN else predicate
        elif previous in _MODALS:
            subject = True
        elif previous in _OPEN_AUX:
            subject = earlier == "" or earlier in _CONJUNCTIONS or earlier in ("and", "or", "but")
        elif previous in _BE_FORMS:
            subject = earlier != _PRONOUN and earlier not in _THIRD
        elif previous in _CONJUNCTIONS:
            subject = following != ""
        elif previous in _EITHER:
            subject = predicate
        elif previous in _PREPOSITIONS:
            subject = False
        elif previous in _CLAUSE_WORDS:
            subject = predicate
        elif previous in _OBJECT_VERBS:
            # finite verbs that are no infinitives: "the help you can give"
            subject = following in _FINITE and following not in _OPEN_AUX
        else:
            subject = verb
        return SUBJECT if subject else OBJECT

    def coordinated(self, i: int) -> bool:
        """Whether the pronoun at i is one of two subjects, so that the verb stays a plural: "Tom and I are"."""
        earlier = self.before(i, 2)
        if self.before(i) not in ("and", "or") or earlier == "":
            return False
        if earlier == _PRONOUN:
            return self.cases[i - 2] == SUBJECT
        opens = self.before(i, 3) in {""} | _CONJUNCTIONS | _CLAUSE_WORDS
        return earlier in _THIRD or (opens and self.matches[i - 2].group()[0].isupper())

    def formula(self, i: int) -> bool:
        """Whether the word at i is part of a fixed expression that both roles use alike."""
        if (self.before(i), self.words[i]) in _FORMULAS:
            return self.before(i, 2) in ("", "say", "said", "says")
        if self.words[max(i - 3, 0) : i] == ["nice", "to", "meet"]:
            return True
        following = self.after(i)[1]
        if self.words[i] == "you're":
            return following == "welcome" and self.before(i) == ""
        return self.words[i] == "you" and self.before(i) == "" and self.words[i + 1 : i + 3] == ["are", "welcome"]


def _no_ellipsis(gap: str) -> str:
    return re.sub(r"\.{2,}", "", gap)


def _cased(word: str, like: str) -> str:
    """`word` (lower case) with the capitals of `like`."""
    if len(like) > 1 and like.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if like[:1].isupper() else word


def _verb(line: _Line, i: int) -> int | None:
    """Index of the form of "be" that agrees with the subject at i, before or after it; None where there is none."""
    j = line.after(i)[0]
    if line.after(i)[1] in _BE_FORMS:
        return j
    if line.before(i) in _BE_FORMS and line.before(i, 2) != _PRONOUN:
        return i - 1
    return None


def swap_roles(text: str, *, names: bool = True) -> str:
    """The role-swapped twin of an English text. names: the written names of the roles go with it.

    Pronouns alone exchange what is said about the two, names alone exchange who says it, both together let the other one say the same.
    Applied twice it gives the text again wherever returns() says so (the module's text has the rules and their limits).
    """
    line = _Line(text)
    out: dict[int, str] = {}
    for i, (match, word) in enumerate(zip(line.matches, line.words, strict=True)):
        written = match.group()
        if line.classes[i] == _PRONOUN:
            if line.formula(i) or (written == "i" and text[match.end() : match.end() + 2] in (".e", ") ")):
                continue
            case = line.cases[i]
            if word == "you":
                first = "I" if case == SUBJECT else "me"
                out[i] = first.upper() if written.isupper() else _cased(first, "A" if line.starts[i] else "a")
            else:
                out[i] = "YOU" if word == "me" and written.isupper() else "You" if line.starts[i] else "you"
            if case == SUBJECT and word != "me" and not line.coordinated(i):
                _agree(line, i, word, out)
        elif word in _PLAIN:
            if word != "mine" or line.before(i) not in _NOUN_BEFORE_MINE:
                out[i] = _cased(_PLAIN[word], written)
        elif line.classes[i] in _CONTRACTED.values() and not line.formula(i):
            out[i] = _contraction(written, word, line.starts[i])
    pieces, at = [], 0
    for i, match in enumerate(line.matches):
        if i in out:
            pieces += [text[at : match.start()], out[i]]
            at = match.end()
    swapped = "".join([*pieces, text[at:]])
    return _NAMES.sub(_other_name, swapped) if names else swapped


def _agree(line: _Line, i: int, word: str, out: dict[int, str]) -> None:
    """Lets the verb beside the subject at i follow it to the other person."""
    j = _verb(line, i)
    if j is None:
        return
    verb, written = line.words[j], line.matches[j].group()
    if word == "you" and j > i and verb == "aren't":
        # "I aren't" is no English; the pronoun takes the verb and leaves the negation
        out[i], out[j] = "I'm", "not"
    elif line.classes[j] == "were" and j > i and line.before(i) in ("if", "wish"):
        return  # "if I were you" has the same form in both persons
    elif word == "you":
        back = {b: a for a, b in _BE.items()}
        if verb in back:
            out[j] = _cased(back[verb], written)
    elif verb in _BE:
        out[j] = _cased(_BE[verb], written)


def _contraction(written: str, word: str, starts: bool) -> str:
    second = _CONTRACTED.get(word)
    back = {b: a for a, b in _CONTRACTED.items()}
    if second is None:
        first = back[word]
        twin = first.upper() if written.isupper() else "I" + first[1:]
    else:
        shout = written.rstrip("'’").isupper()
        twin = second.upper() if shout else _cased(second, "A" if starts else "a")
    return twin.replace("'", "’") if "’" in written else twin


def _other_name(match: re.Match[str]) -> str:
    before, name = (match[1], match[2]) if match[2] else (match[3], match[4])
    return before + _cased("assistant" if name.lower() == "user" else "user", name)


def returns(text: str, *, names: bool = True) -> bool:
    """Whether S is an involution at this text: its twin's twin is the text."""
    return swap_roles(swap_roles(text, names=names), names=names) == text


# ---- tokens

# Words of one token on both sides; "me" has no twin of its own, "you" being that of "I".
_TOKEN_WORDS = (("I", "you"), ("my", "your"), ("mine", "yours"), ("myself", "yourself"))
# Verbs follow a pronoun only: "they are" has no first person.
_TOKEN_VERBS = (("am", "are"), ("was", "were"), ("'m", "'re"))


def _encoder(tokenizer: Any) -> Callable[[str], list[int]]:
    """How a tokenizer encodes plain text: one of the tokenizers or transformers packages, or a Backend."""
    if hasattr(tokenizer, "get_vocab_size"):
        return lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    if hasattr(tokenizer, "detokenize"):
        return tokenizer.tokenize
    return functools.partial(tokenizer.encode, add_special_tokens=False)


def _size(tokenizer: Any, size: int | None) -> int:
    """Entries of a table: as given, or as many as the tokenizer has (a Backend says so only where it has an `info`)."""
    if size is not None:
        return size
    if hasattr(tokenizer, "get_vocab_size"):
        return tokenizer.get_vocab_size()
    return tokenizer.info.vocab_size if hasattr(tokenizer, "detokenize") else len(tokenizer)


def _pairs(tokenizer: Any, words: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    """Ids of (first person, second person), both single tokens, with and without a space before and a capital at the start."""
    encode = _encoder(tokenizer)
    found: list[tuple[int, int]] = []
    taken: set[int] = set()
    for a, b in words:
        # "I" is a capital everywhere: inside a sentence, after a space, its twin is " you"; at the start of a text "You"
        forms = [(f"{s}{x}", f"{s}{y}") for s in (" ", "") for x, y in ((a, b), (a.capitalize(), b.capitalize()))]
        if a == "I":
            forms = [(" I", " you"), ("I", "You")]
        for x, y in forms:
            left, right = encode(x), encode(y)
            if len(left) == len(right) == 1 and left != right and not taken & {left[0], right[0]}:
                found.append((left[0], right[0]))
                taken |= {left[0], right[0]}
    return found


def token_swap(tokenizer: Any, *, size: int | None = None, headers: Sequence[int] = ()) -> np.ndarray:
    """S on token ids, without context: int32[V], each id's twin, itself where it has none. A permutation, and its own inverse.

    tokenizer: one of the tokenizers or transformers packages, or a Backend. size: V, where it is not the tokenizer's own (an embedding with
    rows to spare). headers: the ids of the turn headers of user and assistant, exchanged as well when given.
    """
    import numpy as np

    twins = np.arange(_size(tokenizer, size), dtype=np.int32)
    pairs = _pairs(tokenizer, _TOKEN_WORDS)
    if headers:
        user, assistant = headers
        pairs.append((user, assistant))
    for a, b in pairs:
        twins[a], twins[b] = b, a
    return twins


def token_verbs(tokenizer: Any, *, size: int | None = None) -> np.ndarray:
    """The second table of swap_ids: int32[V], the other person's form of "be" (am, are; was, were; 'm, 're), itself for any other id."""
    import numpy as np

    twins = np.arange(_size(tokenizer, size), dtype=np.int32)
    for a, b in _pairs(tokenizer, _TOKEN_VERBS):
        twins[a], twins[b] = b, a
    return twins


def swap_ids(ids: np.ndarray, twins: np.ndarray, verbs: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """S on sequences of ids [..., T]: every word by `twins`, and verbs by `verbs` directly after an id in `subjects`.

    twins = token_swap(t), verbs = token_verbs(t), subjects = token_subjects(t), bool[V]. An involution for every array of ids: subjects are closed
    under twins, and where a verb stands does not change.
    """
    import numpy as np

    out = twins[ids]
    follows = np.zeros(ids.shape, dtype=bool)
    follows[..., 1:] = subjects[ids[..., :-1]]
    return np.where(follows, verbs[out], out)


def token_subjects(tokenizer: Any, *, size: int | None = None) -> np.ndarray:
    """bool[V]: the ids of I and you that token_swap exchanges."""
    import numpy as np

    mask = np.zeros(_size(tokenizer, size), dtype=bool)
    for pair in _pairs(tokenizer, _TOKEN_WORDS[:1]):
        mask[list(pair)] = True
    return mask
