"""Words of captions with their part of speech, as the text files of HumanML3D have them."""

from __future__ import annotations

import re
from functools import lru_cache

from hmr4d.data.captions import inflect, load_grammar
from hmr4d.data.mirrored_text import SIDES


@lru_cache(maxsize=1)
def _verb_forms() -> dict[str, str]:
    """Maps every inflected verb of the phrases, and of the list of further verbs, to its base form."""
    grammar = load_grammar()
    verbs = set(grammar.further_verbs)
    for family in grammar.families.values():
        for template in (*family.phrases, *family.sentences):
            for group in re.findall(r"\[([^\]]*)\]", template):
                verbs.update(group.split("|"))
    forms = {inflect(verb, form, grammar.irregular): verb for verb in sorted(verbs) for form in ("s", "ing")}
    return forms | {verb: verb for verb in verbs}


@lru_cache(maxsize=4096)
def _word_tags(word: str) -> frozenset[str]:
    """Returns the parts of speech a word can have here, from the lexicon, the verb forms and the endings."""
    lexicon = load_grammar().lexicon
    tags: set[str] = set()
    if word in lexicon:
        tags.update(lexicon[word])
    if word in _verb_forms():
        tags.add("VERB")
    if "NOUN" in lexicon.get(_singular(word), ()):
        tags.add("NOUN")
    if not tags and word.endswith("ly"):
        tags.add("ADV")
    if not tags and word.endswith("handed"):
        tags.add("ADJ")
    return frozenset(tags)


def _singular(word: str) -> str:
    """Returns the singular of a plural noun of the lexicon, else the word itself."""
    grammar = load_grammar()
    if word in grammar.lemmas:
        return grammar.lemmas[word]
    for ending, replacement in (("ies", "y"), ("es", ""), ("s", "")):
        stem = word[: -len(ending)] + replacement
        if word.endswith(ending) and "NOUN" in grammar.lexicon.get(stem, ()):
            return stem
    return word


def _choose_tag(word: str, tags: frozenset[str], before: tuple[str, str], after: frozenset[str], following: str) -> str:
    """Picks one tag of an ambiguous word from its neighbors.

    Args:
        word: the word.
        tags: its possible tags, two or more.
        before: previous word and its chosen tag, empty strings at the start.
        after: possible tags of the next word.
        following: the next word, empty at the end.
    """
    last, last_tag = before
    if word in SIDES:
        if last_tag not in ("NOUN", "VERB") and after & {"NOUN", "ADJ", "NUM"} and following not in ("and", "up"):
            return "ADJ"
        return "NOUN" if last_tag == "DET" else "ADV"
    if word == "to":
        return "PART" if following in _verb_forms().values() and "VERB" in after else "ADP"
    if {"NOUN", "VERB"} <= tags:
        if last_tag in ("DET", "ADJ", "NUM", "ADP", "VERB"):
            return "NOUN" if not word.endswith("ing") or last_tag in ("DET", "ADJ") else "VERB"
        if last_tag == "NOUN":
            base = word == _verb_forms().get(word)
            return "NOUN" if base and last not in load_grammar().agents and not last.endswith("s") else "VERB"
        return "VERB"
    if "ADJ" in tags and after & {"NOUN", "ADJ"}:
        return "ADJ"
    if "NOUN" in tags and last_tag in ("DET", "ADJ"):
        return "NOUN"
    for tag in ("VERB", "ADV", "ADP", "NOUN", "ADJ"):
        if tag in tags:
            return tag
    return sorted(tags)[0]


def pos_tokens(text: str) -> list[str]:
    """Returns the tokens of a caption as "word/POS", in the manner of the HumanML3D text files.

    Hyphens are deleted, words that are not purely alphabetic are dropped, nouns and verbs become lemmas (not the word
    "left"). The tagger is a small word list with neighbor rules, made for the captions of `hmr4d.data.captions`; words
    it does not know get the tag OTHER.
    """
    words = [word for word in re.findall(r"[^\s.,;:!?\"()]+", text.lower().replace("-", "")) if word.isalpha()]
    tokens: list[str] = []
    last = ("", "")
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        tags = _word_tags(word)
        if len(tags) > 1:
            tag = _choose_tag(word, tags, last, _word_tags(following), following)
        else:
            tag = next(iter(tags), "OTHER")
        lemma = word
        if tag == "VERB":
            lemma = _verb_forms().get(word, load_grammar().lemmas.get(word, word))
        elif tag == "NOUN":
            lemma = _singular(word)
        tokens.append(f"{'left' if word == 'left' else lemma}/{tag}")
        last = (word, tag)
    return tokens
