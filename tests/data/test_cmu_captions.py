"""Caption files of the CMU data: what they give for a clip, and what is refused, with the place of the fault."""

import pytest

from hmr4d.data.importers.cmu_captions import GROUPS, OTHER, read_cmu_captions
from hmr4d.data.mirrored_text import mirror_text
from hmr4d.data.store import MotionStore
from hmr4d.utils.places import shipped_folder

SENTENCES = ", ".join(f"a person does it in way {n}" for n in range(8))
ACTIONS = f"""
actions:
  sit down: {{group: sit, sentences: [{SENTENCES}]}}
  turn left: {{group: walk-turn-left, sentences: [{SENTENCES}]}}
"""
GOOD = (
    ACTIONS
    + """
descriptions:
  sit on a stool: sit down
clips:
  13_29: [[0, 2.5, sit down], [3.0, 5.5, turn left]]
left_out:
  "01_01": nothing to see
"""
)


def read(tmp_path, *texts):
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.yaml").write_text(text)
    return read_cmu_captions(tmp_path)


def test_stretches_come_before_the_description_and_that_before_nothing(tmp_path):
    captions = read(tmp_path, GOOD)
    first, second = captions.stretches("13_29", "sit on a stool")
    assert (first.action.group, first.start, first.end) == ("sit", 0.0, 2.5)
    assert (second.action.name, second.start, second.end) == ("turn left", 3.0, 5.5)
    (whole,) = captions.stretches("14_02", "sit on a stool")
    assert (whole.action.name, whole.start, whole.end) == ("sit down", 0.0, None)
    assert len(whole.action.sentences) == 8
    (unknown,) = captions.stretches("14_03", "juggle")
    assert (unknown.action.group, unknown.action.sentences) == (OTHER, ("juggle",))
    assert captions.stretches("14_04", None) == []
    assert captions.left_out == {"01_01": "nothing to see"}


def test_actions_of_one_file_serve_the_others(tmp_path):
    captions = read(tmp_path, "clips: {01_02: [[0, 1, sit down]]}", ACTIONS)
    assert captions.stretches("01_02", None)[0].action.group == "sit"


def test_clip_names_of_digits_stay_text(tmp_path):
    assert set(read(tmp_path, GOOD).clips) == {"13_29"}


def test_folder_without_files_has_no_captions(tmp_path):
    assert read_cmu_captions(tmp_path).actions == {}


def test_groups_with_a_side_have_their_mirror_image():
    assert all(mirror_text(group) in GROUPS for group in GROUPS)
    assert mirror_text("walk-turn-left") == "walk-turn-right" and mirror_text("sit") == "sit"


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("group: sit", "group: seat", "0.yaml, action 'sit down': unknown group 'seat'"),
        (", a person does it in way 7]}\n  turn", "]}\n  turn", "action 'sit down': 7 different sentences; at least 8"),
        ("way 7]}\n  turn", "way 6]}\n  turn", "action 'sit down': 7 different sentences"),
        ("[0, 2.5, sit down]", "[0, 3.5, sit down]", r"clip '13_29': the stretch \[3.0, 5.5\] begins before"),
        ("[0, 2.5, sit down]", "[2.5, 2.5, sit down]", r"clip '13_29': expected \[start, end, action\]"),
        ("[0, 2.5, sit down]", "[0, soon, sit down]", r"clip '13_29': expected \[start, end, action\]"),
        ("[0, 2.5, sit down]", "[0, 2.5, sit up]", "clip '13_29': there is no action 'sit up'"),
        ("stool: sit down", "stool: sit up", "description 'sit on a stool': there is no action 'sit up'"),
        ("left_out:", "clips:", "0.yaml is no YAML: 'clips' is given twice .*line 10"),
        ("left_out:", "leftout:", r"unknown sections \['leftout'\]"),
        ('"01_01": nothing to see', '"01_01":', "left_out '01_01': expected a reason"),
        ('"01_01"', '"13_29"', "clip '13_29' is given twice"),
        (
            "  sit on a stool: sit down",
            "  sit on a stool: sit down\n  sit on a stool: sit down",
            "given twice .*line 8",
        ),
    ],
)
def test_faults_are_named(tmp_path, old, new, cause):
    assert old in GOOD
    with pytest.raises(ValueError, match=cause):
        read(tmp_path, GOOD.replace(old, new, 1))


@pytest.mark.parametrize(
    ("second", "cause"),
    [
        (ACTIONS, "1.yaml: action 'sit down' is given twice"),
        ("clips: {13_29: [[0, 1, sit down]]}", "1.yaml: clip '13_29' is given twice"),
        ("descriptions: {sit on a stool: sit down}", "1.yaml: description 'sit on a stool' is given twice"),
    ],
)
def test_what_two_files_say_is_refused(tmp_path, second, cause):
    with pytest.raises(ValueError, match=cause):
        read(tmp_path, GOOD, second)


def test_shipped_sentences_are_many_and_belong_to_one_action():
    actions = read_cmu_captions().actions.values()
    assert min(len(action.sentences) for action in actions) >= 20
    every = [sentence.lower() for action in actions for sentence in action.sentences]
    assert len(set(every)) == len(every)


def test_shipped_store_has_the_captions_of_the_files():
    store, captions = MotionStore.open(shipped_folder("inputs") / "cmu"), read_cmu_captions()
    for clip in range(len(store)):
        action = captions.actions.get(store.labels["action"][clip])
        wanted = action.sentences if action else (store.labels["description"][clip],)
        assert tuple(store.caption_texts[c.caption] for c in store.clip_captions(clip)) == wanted, store.names[clip]
