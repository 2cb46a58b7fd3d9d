"""Captions for labeled clips: a small grammar generates many English sentences from a content and a style label.

The words are in `resources/bandai_namco_captions.yaml`. Its phrases use four marks:

- ``(a|b|)`` one of the options, an option may be empty;
- ``[walk|stroll]`` one of the verbs, inflected to fit the clause ("walks", "walking", "walk");
- ``{his}``, ``{him}`` pronouns that agree with the subject; ``{p}`` the subject itself, ``{po}`` as object ("her"),
  ``{px}`` never as a pronoun;
- ``{s}`` the side of the content ("left" or "right").

`content_sentences` gives hand-written sentences beyond the grammar (`resources/bandai_namco_sentences.yaml`), for
training.

Captions of sided contents always name the true side. A mirrored clip takes the captions of the original clip through
`mirrored_text.mirror_text`; its label is `mirror_content` of the label. This also holds for contents that use one hand
without saying so in the label (bye, guide, respond): the label stays, and the captions name the other hand or none.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml

NORMAL_PLAIN_SHARE = 0.70  # share of captions without style words for the style "normal"
STYLED_PLAIN_SHARE = 0.25  # the same for every other style, so that plain prompts reach all styles
PERIOD_SHARE = 0.15  # share of captions that end with a period
ADVERBIAL_FIRST_SHARE = 0.12  # share of adverbials in front of the clause, where that reads well
ADVERBIAL_COMMA_SHARE = 0.08  # share of adverbials set off by a comma
STYLED_SUBJECT_SHARE = 0.32  # share of styled clauses where the subject bears the style ("a tired man")
STYLED_NOUN_SHARE = (
    0.35  # share of captions in which the noun alone expresses the style ("a giant"), for styles with such nouns
)
ADJECTIVE_SHARE = 0.4  # share of styled motion nouns with an adjective ("a tired bow")
ARTICLE_SHARE = 0.7  # share of motion nouns with an article
DEFINITE_SHARE = 0.15  # share of "the" among subjects with an adjective
SHAPES = {"phrase": 0.62, "noun": 0.15, "sentence": 0.23}  # weights of the three kinds of template
GENDERS = {"n": 0.56, "m": 0.24, "f": 0.20}  # weights of subjects without gender, male, female
TRIES_PER_CAPTION = 60  # draws spent on each caption before a pool counts as exhausted

_RESOURCE = "bandai_namco_captions.yaml"
_SENTENCES = "bandai_namco_sentences.yaml"
_OPTIONS = re.compile(r"\(([^()]*)\)")
_MARK = re.compile(r"\[([^\]]*)\]|\{(\w+)\}")
_VOWELS = "aeiou"
_AN_EXCEPTIONS = ("one", "uni", "use", "usu", "eu")

_PRONOUNS = {
    "his": {"m": "his", "f": "her", "your": "your", "the": "the", "their": "their"},
    "him": {"m": "him", "f": "her", "your": "you", "the": "them", "their": "them"},
}
_OBJECT_CASE = {"he": "him", "she": "her"}
_NAMED = {"he": "the man", "she": "the woman"}


@dataclass(frozen=True)
class _Subject:
    """The actor: words and pronoun class (m, f, their, the, your)."""

    text: str
    pronoun: str


@dataclass(frozen=True)
class _Family:
    """The phrases shared by the contents that differ in side only."""

    kind: str
    phrases: tuple[str, ...]
    nouns: tuple[str, ...]
    bare: tuple[str, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class _Style:
    """Words of one style: adjectives, adverbials by content kind, and subjects that carry the style."""

    adjectives: tuple[str, ...]
    adverbials: dict[str, tuple[str, ...]]
    subjects: tuple[_Subject, ...]


@dataclass(frozen=True)
class _Grammar:
    """The checked content of the resource file."""

    contents: dict[str, dict[str, Any]]
    families: dict[str, _Family]
    styles: dict[str, _Style]
    subjects: dict[str, tuple[str, ...]]
    heads: dict[str, tuple[str, ...]]
    frames: tuple[tuple[str, str, str], ...]
    frame_weights: tuple[float, ...]
    irregular: dict[str, tuple[str, str]]
    further_verbs: tuple[str, ...]
    agents: frozenset[str]
    lexicon: dict[str, frozenset[str]] = field(repr=False)
    lemmas: dict[str, str] = field(repr=False)


def _pronoun_pairs(table: dict[str, list[str]] | None) -> tuple[_Subject, ...]:
    return tuple(_Subject(text, gender) for gender, texts in (table or {}).items() for text in texts)


def _read_yaml(name: str) -> dict[str, Any]:
    text = (resources.files("hmr4d.data") / "resources" / name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@lru_cache(maxsize=1)
def load_grammar() -> _Grammar:
    """Reads the packaged word file once."""
    raw = _read_yaml(_RESOURCE)
    families = {
        name: _Family(
            kind=entry["kind"],
            phrases=tuple(entry["phrases"]),
            nouns=tuple(entry.get("nouns", ())),
            bare=tuple(entry.get("bare", ())),
            sentences=tuple(entry["sentences"]),
        )
        for name, entry in raw["families"].items()
    }
    styles = {}
    for name, entry in raw["styles"].items():
        common = tuple(entry["adverbials"])
        adverbials = {kind: common + tuple(entry.get(kind, ())) for kind in ("travel", "stand", "action")}
        styles[name] = _Style(tuple(entry["adjectives"]), adverbials, _pronoun_pairs(entry.get("subjects")))
    frames = tuple((entry["form"], entry["text"], entry.get("kind", "")) for entry in raw["frames"])
    lexicon: dict[str, set[str]] = {}
    for tag, words in raw["pos"].items():
        for word in words.split():
            lexicon.setdefault(word, set()).add(tag)
    return _Grammar(
        contents=raw["contents"],
        families=families,
        styles=styles,
        subjects={gender: tuple(texts) for gender, texts in raw["subjects"].items()},
        heads={gender: tuple(texts) for gender, texts in raw["heads"].items()},
        frames=frames,
        frame_weights=tuple(float(entry["weight"]) for entry in raw["frames"]),
        irregular={verb: (forms[0], forms[1]) for verb, forms in raw["irregular_verbs"].items()},
        further_verbs=tuple(raw["further_verbs"].split()),
        agents=frozenset(raw["agents"].split()),
        lexicon={word: frozenset(tags) for word, tags in lexicon.items()},
        lemmas=raw["lemmas"],
    )


def content_names() -> tuple[str, ...]:
    """Returns the content labels that have captions."""
    return tuple(load_grammar().contents)


def style_names() -> tuple[str, ...]:
    """Returns the style labels that have captions."""
    return tuple(load_grammar().styles)


def inflect(verb: str, form: str, irregular: dict[str, tuple[str, str]]) -> str:
    """Returns `verb` as "base", "s" (walks) or "ing" (walking)."""
    if form == "base":
        return verb
    if verb in irregular:
        return irregular[verb][0 if form == "s" else 1]
    if form == "s":
        if verb.endswith(("s", "sh", "ch", "x", "z", "o")):
            return verb + "es"
        return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", verb):
        return verb + verb[-1] + "ing"
    return verb + "ing"


def _article(words: str) -> str:
    """Returns `words` with "a" or "an" in front."""
    takes_an = words[0] in _VOWELS and not words.startswith(_AN_EXCEPTIONS)
    return f"{'an' if takes_an else 'a'} {words}"


def _expand(template: str, form: str, who: _Subject, side: str, rng: random.Random) -> str:
    """Fills the marks of a template: options, verbs in `form`, pronouns, subject and side."""
    irregular = load_grammar().irregular
    values = {
        "s": side,
        "p": who.text,
        "po": _OBJECT_CASE.get(who.text, who.text),
        "px": _NAMED.get(who.text, who.text),
    }

    def fill(match: re.Match[str]) -> str:
        verbs, name = match.groups()
        if verbs is not None:
            return inflect(rng.choice(verbs.split("|")), form, irregular)
        return values[name] if name in values else _PRONOUNS[name][who.pronoun]

    # options first: they may contain verbs and pronouns
    template = _OPTIONS.sub(lambda match: rng.choice(match.group(1).split("|")), template)
    return _MARK.sub(fill, template)


def _tidy(text: str) -> str:
    """Removes doubled blanks and blanks or doubled commas before punctuation."""
    text = re.sub(r"\s+", " ", text).strip(" ,")
    return re.sub(r"(\s*,)+", ",", text)


def _pick_subject(grammar: _Grammar, rng: random.Random) -> _Subject:
    gender = rng.choices(tuple(GENDERS), tuple(GENDERS.values()))[0]
    return _Subject(rng.choice(grammar.subjects[gender]), _pronoun(gender, rng))


def _pronoun(gender: str, rng: random.Random) -> str:
    return rng.choice(("their", "their", "the", "m")) if gender == "n" else gender


def _adjective_subject(adjective: str, grammar: _Grammar, rng: random.Random) -> _Subject:
    gender = rng.choices(tuple(GENDERS), tuple(GENDERS.values()))[0]
    phrase = f"{adjective} {rng.choice(grammar.heads[gender])}"
    text = f"the {phrase}" if rng.random() < DEFINITE_SHARE else _article(phrase)
    return _Subject(text, _pronoun(gender, rng))


def _with_adverbial(text: str, adverbial: str, rng: random.Random, may_lead: bool) -> str:
    """Appends the adverbial; sometimes puts it in front of a suitable clause."""
    if not adverbial:
        return text
    if may_lead and rng.random() < ADVERBIAL_FIRST_SHARE:
        return f"{adverbial.lstrip(', ')}, {text}"
    if adverbial.startswith(","):
        return text + adverbial
    return f"{text}, {adverbial}" if rng.random() < ADVERBIAL_COMMA_SHARE else f"{text} {adverbial}"


def _draw(content: str, style: str, rng: random.Random) -> str:
    """Returns one random caption."""
    grammar = load_grammar()
    side = grammar.contents[content].get("side", "")
    family, words = grammar.families[grammar.contents[content]["family"]], grammar.styles[style]
    styled = rng.random() >= (NORMAL_PLAIN_SHARE if style == "normal" else STYLED_PLAIN_SHARE)
    shape = rng.choices(tuple(SHAPES), tuple(SHAPES.values()))[0]
    if shape == "noun":
        text = _draw_noun(family, words, styled, side, rng)
    else:
        text = _draw_clause(family, words, styled, side, shape, rng)
    text = _tidy(text)
    return text + "." if rng.random() < PERIOD_SHARE else text


def _draw_noun(family: _Family, words: _Style, styled: bool, side: str, rng: random.Random) -> str:
    """Returns a caption without a verb or with a bare gerund: "a tired wave", "boxing"."""
    who = _Subject("", "the")
    template = rng.choice(family.nouns + family.bare)
    text = _expand(template, "ing", who, side, rng)
    adverbial = ""
    if styled and template in family.nouns and rng.random() < ADJECTIVE_SHARE:
        text = f"{rng.choice(words.adjectives)} {text}"
    elif styled:  # no "slowly" after a noun
        adverbial = rng.choice([option for option in words.adverbials[family.kind] if not option.endswith("ly")])
    if template in family.nouns and rng.random() < ARTICLE_SHARE:
        text = _article(text)
    return _with_adverbial(text, _expand(adverbial, "ing", who, side, rng), rng, may_lead=False)


def _draw_clause(family: _Family, words: _Style, styled: bool, side: str, shape: str, rng: random.Random) -> str:
    """Returns a caption with a verb: a sentence, a gerund phrase, an order."""
    grammar = load_grammar()
    form, frame = "s", "{vp}"
    if shape == "sentence":
        template = rng.choice(family.sentences)
    else:
        form, frame, _ = _pick_frame(grammar, family.kind, rng)
        template = rng.choice(family.phrases)
    adverbial = ""
    has_subject = "{p" in frame or shape == "sentence"
    who = _pick_subject(grammar, rng) if has_subject else _Subject("", "your" if form == "base" else "the")
    if styled and has_subject and rng.random() < STYLED_SUBJECT_SHARE:
        if words.subjects and rng.random() < STYLED_NOUN_SHARE:
            chosen = rng.choice(words.subjects)
            who = _Subject(chosen.text, _pronoun(chosen.pronoun, rng))
        else:
            who = _adjective_subject(rng.choice(words.adjectives), grammar, rng)
    elif styled:
        adverbial = rng.choice(words.adverbials[family.kind])
    clause = _expand(frame.replace("{vp}", template), form, who, side, rng)
    may_lead = frame.startswith("{") and (shape == "phrase" or template.startswith("{p}"))
    return _with_adverbial(clause, _expand(adverbial, form, who, side, rng), rng, may_lead)


def _pick_frame(grammar: _Grammar, kind: str, rng: random.Random) -> tuple[str, str, str]:
    """Returns a clause frame that suits the content kind."""
    while True:
        frame = rng.choices(grammar.frames, grammar.frame_weights)[0]
        if frame[2] in ("", kind):
            return frame


def _check_known(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ValueError(f"Unknown {kind} '{name}'. Expected one of: {', '.join(known)}.")


def caption_pool(content: str, style: str, count: int, seed: int) -> list[str]:
    """Returns `count` different captions for clips of one content and style.

    Args:
        content: content label, for example "wave-left-hand".
        style: style label, for example "tired".
        count: how many captions.
        seed: any integer; the same (content, style, seed) gives the same list, a longer one continues a shorter one.

    Returns:
        Lower-case captions without duplicates (a final period does not make a difference).

    Raises:
        ValueError: unknown label, negative count, or more captions than the grammar can generate.
    """
    grammar = load_grammar()
    _check_known("content", content, grammar.contents)
    _check_known("style", style, grammar.styles)
    if count < 0:
        raise ValueError(f"count is {count}, expected 0 or more. Pass the number of captions wanted.")
    digest = hashlib.sha256(f"{content}/{style}/{seed}".encode()).digest()
    rng = random.Random(int.from_bytes(digest[:8], "big"))
    captions: dict[str, str] = {}
    for _ in range(TRIES_PER_CAPTION * count):
        if len(captions) == count:
            break
        text = _draw(content, style, rng)
        captions.setdefault(text.rstrip("."), text)
    if len(captions) < count:
        raise ValueError(
            f"Only {len(captions)} different captions found for ({content}, {style}), {count} were requested. Request "
            "fewer or add phrases to the word file."
        )
    return list(captions.values())


@lru_cache(maxsize=1)
def _sentences() -> dict[str, tuple[str, ...]]:
    """Reads the packaged hand-written sentences once."""
    return {content: tuple(sentences) for content, sentences in _read_yaml(_SENTENCES).items()}


def content_sentences(content: str) -> tuple[str, ...]:
    """Returns the hand-written sentences of a content, for training; they suit every style.

    Raises:
        ValueError: unknown content.
    """
    _check_known("content", content, content_names())
    return _sentences()[content]


def mirror_content(content: str) -> str:
    """Returns the content label of a mirrored clip; contents without a twin keep their label.

    Raises:
        ValueError: unknown content.
    """
    contents = load_grammar().contents
    _check_known("content", content, contents)
    return contents[content].get("mirror", content)
