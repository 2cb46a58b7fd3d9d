"""Captions: truth of left and right, variety, mirroring, tokens, and the held-out prompts."""

import re
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from hmr4d.data import captions
from hmr4d.data.captions import caption_pool, content_names, content_sentences, mirror_content, style_names
from hmr4d.data.importers.bandai_namco import DEFAULT_CAPTIONS_PER_CELL
from hmr4d.data.importers.cmu_captions import read_cmu_captions
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.part_of_speech import pos_tokens
from hmr4d.evaluation.prompt_sets import read_prompts

SIDES = {
    "walk-left": "left",
    "walk-right": "right",
    "walk-turn-left": "left",
    "walk-turn-right": "right",
    "wave-left-hand": "left",
    "wave-right-hand": "right",
    "raise-up-left-hand": "left",
    "raise-up-right-hand": "right",
    "respond": "left",
}
ONE_HANDED = {"bye": "right", "guide": "right"}  # the label does not name the hand; a caption may leave it out
OTHER_SIDE = {"left": "right", "right": "left"}
CELLS = [(content, style) for content in content_names() for style in style_names()]


@pytest.fixture(scope="module")
def pools():
    return {cell: caption_pool(*cell, 64, 7) for cell in CELLS}


def sides_in(text):
    return set(re.findall(r"\b(left|right)(?=wards?\b|\b)", text))


def normalized(text):
    return " ".join(re.findall(r"[a-z]+", text.lower()))


def test_all_labels_of_the_data_are_there():
    assert len(content_names()) == 24
    assert len(style_names()) == 19
    assert set(SIDES) | set(ONE_HANDED) <= set(content_names())


def test_pools_are_large_and_unique(pools):
    for cell, pool in pools.items():
        assert len({normalized(text) for text in pool}) >= 63, cell
        assert all(text == text.lower() and "  " not in text for text in pool)
        assert not any(re.search(r"[\[\]{}()|\"]| [,.]|,,", text) for text in pool), cell


def test_templates_are_many():
    for name, family in captions.load_grammar().families.items():
        assert len(set(family.phrases + family.nouns + family.bare + family.sentences)) >= 25, name


def test_sides_are_true(pools):
    for (content, _style), pool in pools.items():
        for text in pool:
            if content in SIDES:
                assert sides_in(text) == {SIDES[content]}, text
            elif content in ONE_HANDED:
                assert sides_in(text) <= {ONE_HANDED[content]}, text
            else:
                assert not sides_in(text), text


def test_both_hand_contents_say_so(pools):
    for content in ("byebye", "wave-both-hands", "raise-up-both-hands"):
        for style in style_names():
            for text in pools[content, style]:
                assert re.search(r"\b(both|two|double|hands|arms)\b", text), text


def test_confusable_contents_have_their_own_words(pools):
    farewell = re.compile(r"bye|farewell|so long|see you|leave|leaving|send|see.* off|part")
    for style in style_names():
        for content in ("wave-left-hand", "wave-right-hand", "wave-both-hands"):
            assert all(re.search(r"wav|hand|arm|palm", text) for text in pools[content, style])
            assert not any(re.search(r"bye|farewell|so long", text) for text in pools[content, style])
        for content in ("bye", "byebye"):
            assert all(farewell.search(text) for text in pools[content, style])
        for text in pools["respond", style]:
            assert re.search(r"answer|respon|repl|call|question|react|say|name", text), text


def test_same_seed_same_pool_and_prefix():
    assert caption_pool("bow", "sad", 20, 3) == caption_pool("bow", "sad", 20, 3)
    assert caption_pool("bow", "sad", 20, 3)[:8] == caption_pool("bow", "sad", 8, 3)
    assert caption_pool("bow", "sad", 20, 3) != caption_pool("bow", "sad", 20, 4)
    assert caption_pool("bow", "sad", 0, 3) == []


@pytest.mark.parametrize(
    ("content", "style", "count", "message"),
    [
        ("hop", "sad", 1, "Unknown content"),
        ("bow", "blue", 1, "Unknown style"),
        ("bow", "sad", -1, "0 or more"),
    ],
)
def test_bad_requests_are_refused(content, style, count, message):
    with pytest.raises(ValueError, match=message):
        caption_pool(content, style, count, 0)


def test_exhausted_grammar_is_an_error(monkeypatch):
    monkeypatch.setattr(captions, "_draw", lambda *_: "always the same")
    with pytest.raises(ValueError, match="Only 1 different"):
        caption_pool("bow", "sad", 2, 0)


def test_unknown_content_has_no_mirror():
    with pytest.raises(ValueError, match="Unknown content"):
        mirror_content("hop-left")


@pytest.mark.parametrize(
    ("text", "mirrored"),
    [
        ("he turns left", "he turns right"),
        ("a left-handed wave, LEFT!", "a right-handed wave, RIGHT!"),
        ("Left, then Right", "Right, then Left"),
        ("to his left's side", "to his right's side"),
        ("the leftover is bright", "the leftover is bright"),
        ("copyright, upright, righteous", "copyright, upright, righteous"),
        ("going leftwards", "going rightwards"),
        ("turns clockwise", "turns counterclockwise"),
        ("left and right", "right and left"),
        ("no side at all", "no side at all"),
    ],
)
def test_mirror_text(text, mirrored):
    assert mirror_text(text) == mirrored
    assert mirror_text(mirrored) == text


def test_mirror_of_other_spellings_stays_true():
    assert mirror_text("turns anticlockwise") == mirror_text("turns counter-clockwise") == "turns clockwise"


def test_mirror_content_pairs():
    for content in content_names():
        twin = mirror_content(content)
        assert mirror_content(twin) == content
        assert (twin != content) == bool({"left", "right"} & set(content.split("-")))
        assert twin == mirror_text(content)


def test_mirrored_captions_name_the_other_side(pools):
    for (content, _style), pool in pools.items():
        for text in pool:
            assert mirror_text(mirror_text(text)) == text
            if content in SIDES:
                assert sides_in(mirror_text(text)) == {OTHER_SIDE[SIDES[content]]}, text
            elif content in ONE_HANDED:
                assert sides_in(mirror_text(text)) <= {OTHER_SIDE[ONE_HANDED[content]]}, text


def test_mirrored_captions_read_like_the_twin():
    grammar = captions.load_grammar()
    for _content, entry in grammar.contents.items():
        if "mirror" in entry:
            twin = grammar.contents[entry["mirror"]]
            assert (twin["family"], twin["side"]) == (entry["family"], OTHER_SIDE[entry["side"]])
    assert any("left" in mirror_text(text) for text in caption_pool("guide", "normal", 30, 1))


def test_style_words():
    grammar = captions.load_grammar()
    for name, style in grammar.styles.items():
        for kind in ("travel", "stand", "action"):
            assert len(set(style.adverbials[kind])) >= (12 if name != "normal" else 8), name
        words = [*style.adjectives, *(a for kind in style.adverbials.values() for a in kind)]
        assert not any(sides_in(text) for text in words)
        assert style.adjectives


def test_share_of_plain_captions(monkeypatch):
    """The style shows in about as many captions as the constants say: without any it falls to nothing."""
    pool = caption_pool("walk", "giant", 400, 0)
    marked = re.compile(
        r"giant|gigantic|lumber|heav|huge|slow|monster|ton\b|\btroll|ponderous|weight|stone|thunder|ogre"
    )
    share = sum(bool(marked.search(text)) for text in pool) / len(pool)
    assert share == pytest.approx(1 - captions.STYLED_PLAIN_SHARE, abs=0.1)
    monkeypatch.setattr(captions, "STYLED_PLAIN_SHARE", 1.0)
    assert not any(marked.search(text) for text in caption_pool("walk", "giant", 200, 0))


def test_every_word_has_a_part_of_speech(pools):
    texts = [text for pool in pools.values() for text in pool]
    texts += [text for content in content_names() for text in content_sentences(content)]
    unknown = {token for text in texts for token in pos_tokens(text) if "/OTHER" in token}
    assert not unknown


def test_sentences_are_many_and_belong_to_one_content():
    every = [sentence for content in content_names() for sentence in content_sentences(content)]
    assert all(len(content_sentences(content)) >= 150 for content in content_names())
    assert len({normalized(sentence) for sentence in every}) == len(every)
    assert all(sentence == sentence.lower().strip() for sentence in every)
    with pytest.raises(ValueError, match="Unknown content"):
        content_sentences("hop")


def test_sentences_tell_the_true_side():
    """A sided content may name the other side after its own ("the right arm hangs"); other contents name both or none.

    The one kick of the data is a kick of the right leg.
    """
    for content in content_names():
        for sentence in content_sentences(content):
            named = re.findall(r"\b(left|right)(?:wards?)?\b", sentence)
            if content in SIDES:
                assert named and named[0] == SIDES[content], sentence
                assert named.count(SIDES[content]) >= named.count(OTHER_SIDE[SIDES[content]]), sentence
            elif content in ONE_HANDED:
                assert named[:1] in ([], [ONE_HANDED[content]]), sentence
            else:
                both = set(named) == {"left", "right"}
                assert not named or both or (content, named) == ("kick", ["right"]), sentence
    for content, side in ONE_HANDED.items():
        assert sum(side in sentence for sentence in content_sentences(content)) >= 20, content


def test_sentences_are_new_and_say_what_sets_their_content_apart(pools):
    grammar = {normalized(text) for pool in pools.values() for text in pool}
    for content in content_names():
        for sentence in content_sentences(content):
            assert normalized(sentence) not in grammar
            if content.startswith("raise"):
                assert not re.search(r"\bwav", re.sub(r"no waving|not wave", "", sentence)), sentence
            if content.startswith("wave"):
                assert not re.search(r"bye|farewell|so long", sentence), sentence
            if content in ("byebye", "wave-both-hands"):
                assert re.search(r"\b(both|two|double|arms|hands|left and right)\b", sentence), sentence
            if content == "respond":
                assert re.search(
                    r"answer|respon|repl|call|react|name|presen|volunteer|report|here|yes|ask", sentence
                ), sentence


def test_sentences_hold_no_style_words():
    styles = captions.load_grammar().styles.values()
    words = {word for style in styles for word in style.adjectives if " " not in word}
    words |= {a for style in styles for options in style.adverbials.values() for a in options if a.endswith("ly")}
    words |= {"child", "kid", "slowly", "quickly"}
    for content in content_names():
        for sentence in content_sentences(content):
            assert not words & set(re.findall(r"[a-z-]+", sentence)), sentence


def test_pos_tokens_follow_the_humanml3d_manner():
    assert pos_tokens("a person walks forward slowly.") == [
        "a/DET",
        "person/NOUN",
        "walk/VERB",
        "forward/ADV",
        "slowly/ADV",
    ]
    assert pos_tokens("the man is waving his left hand") == (
        ["the/DET", "man/NOUN", "is/AUX", "wave/VERB", "his/DET", "left/ADJ", "hand/NOUN"]
    )
    assert pos_tokens("she waves both hands") == ["she/PRON", "wave/VERB", "both/DET", "hand/NOUN"]
    assert pos_tokens("a left-hand wave") == ["a/DET", "lefthand/ADJ", "wave/NOUN"]
    assert pos_tokens("someone walks to the left") == ["someone/PRON", "walk/VERB", "to/ADP", "the/DET", "left/NOUN"]
    assert pos_tokens("zyxgloop") == ["zyxgloop/OTHER"]
    assert pos_tokens("") == []


@pytest.fixture(scope="module")
def held_out():
    text = resources.files("hmr4d.data").joinpath("resources", "bandai_namco_paraphrases.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def test_held_out_prompts_cover_all_contents_once(held_out):
    assert set(held_out) == set(content_names())
    prompts = [normalized(prompt) for group in held_out.values() for prompt in group]
    assert all(len(group) == 8 for group in held_out.values())
    assert len(set(prompts)) == len(prompts)


def test_blind_sentences_cover_all_contents_twice():
    sentences = read_prompts(Path(__file__).resolve().parents[2] / "benchmarks" / "blind_sentences.yaml")
    assert set(sentences) == set(content_names())
    assert all(len(set(group)) == 2 for group in sentences.values())


def test_held_out_prompts_keep_their_side(held_out):
    for content, prompts in held_out.items():
        for prompt in prompts:
            if content in SIDES:
                assert sides_in(prompt) == {SIDES[content]}, prompt
            else:
                assert sides_in(prompt) <= {ONE_HANDED.get(content)}, prompt
        if mirror_content(content) != content:
            assert {mirror_text(prompt) for prompt in prompts} == set(held_out[mirror_content(content)])


def test_held_out_prompts_cannot_be_derived(held_out, pools):
    """Each held-out prompt has neighboring words that its content's captions never have, most have new words too."""
    wide = dict(pools)
    for content in content_names():
        wide[content, "normal"] = caption_pool(content, "normal", 2000, 5)
    texts = {content: set() for content in content_names()}
    for (content, _style), pool in wide.items():
        texts[content].update(normalized(text) for text in pool)
    everything = set.union(*texts.values())
    new_words = 0
    for content, prompts in held_out.items():
        pairs = {pair for text in texts[content] for pair in pairwise(text.split())}
        vocabulary = {word for text in texts[content] for word in text.split()}
        for prompt in map(normalized, prompts):
            assert prompt not in everything
            assert set(pairwise(prompt.split())) - pairs, prompt
            new_words += bool(set(prompt.split()) - vocabulary)
    assert new_words >= 0.9 * 8 * len(held_out)


def content_words(text):
    """Lemmas of a text without articles, pronouns, helping words and the words for the person who acts."""
    persons = captions.load_grammar().agents | {"someone", "somebody", "human"}
    dull = {"DET", "PRON", "AUX", "PART", "CCONJ", "SCONJ"}
    tokens = (token.rsplit("/", 1) for token in pos_tokens(text))
    return frozenset(word for word, tag in tokens if word in ("both", "two") or not (tag in dull or word in persons))


def overlap(one, other):
    return len(one & other) / max(1, len(one | other))


def test_overlap_counts_the_words_that_matter():
    words = content_words("a man waves both hands")
    assert words == {"wave", "both", "hand"} == content_words("both your hands are waving")
    assert overlap(words, content_words("she waves her left hand")) == 0.5
    assert overlap(content_words("hop"), words) == 0.0


def test_no_sentence_comes_near_a_held_out_prompt(held_out):
    """Neither a training sentence nor its mirrored wording repeats a held-out prompt or most of its words."""
    prompts = {normalized(prompt): content_words(prompt) for group in held_out.values() for prompt in group}
    near = []
    for content in content_names():
        for sentence in content_sentences(content):
            for text in {sentence, mirror_text(sentence)}:
                assert normalized(text) not in prompts, text
                words = content_words(text)
                if any(overlap(words, other) >= 0.6 for other in prompts.values()):
                    near.append((content, text))
    assert not near


@pytest.fixture(scope="module")
def held_out_cmu():
    text = resources.files("hmr4d.data").joinpath("resources", "cmu_paraphrases.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def test_cmu_prompts_are_many_different_and_true_to_their_side(held_out_cmu, held_out):
    prompts = [normalized(prompt) for group in held_out_cmu.values() for prompt in group]
    assert len(set(prompts)) == len(prompts)
    assert not set(prompts) & {normalized(prompt) for group in held_out.values() for prompt in group}
    for group, own in held_out_cmu.items():
        assert len(own) >= 4 and all(isinstance(prompt, str) for prompt in own), group
        if side := sides_in(group.replace("-", " ")):
            assert all(sides_in(prompt) == side for prompt in own), group


def test_held_out_prompts_are_no_training_sentences_of_either_data(held_out, held_out_cmu, pools):
    """Models train on the words of both data sets together: none may be a held-out prompt or an everyday verb."""
    trained = {normalized(text) for pool in pools.values() for text in pool}
    trained |= {normalized(text) for cell in CELLS for text in caption_pool(*cell, DEFAULT_CAPTIONS_PER_CELL, 0)}
    trained |= {normalized(text) for content in content_names() for text in content_sentences(content)}
    trained |= {normalized(text) for action in read_cmu_captions().actions.values() for text in action.sentences}
    trained |= {normalized(mirror_text(text)) for text in trained}
    verbs = yaml.safe_load(
        resources.files("hmr4d.data").joinpath("resources", "everyday_verbs.yaml").read_text("utf-8")
    )
    paraphrases = [prompt for data in (held_out, held_out_cmu) for group in data.values() for prompt in group]
    asked = [verb["prompt"] for verb in verbs] + paraphrases
    shared = {prompt for prompt in asked if normalized(prompt) in trained}
    assert not shared
