"""Messages fit for a terminal."""

from asr_rescore.errors import LONGEST_LINE, InputError, RescoreError, printable


def test_what_a_terminal_would_act_on_is_escaped():
    assert printable("a\x1b[2J\u202eb\tc\n") == "a\\x1b[2J\\u202eb\tc\n"
    assert printable("a\tb", kept="") == "a\\tb"
    assert str(RescoreError("key \x00")) == "key \\x00"


def test_a_long_key_does_not_hide_the_remedy():
    error = InputError(
        f"text: key {'x' * 5000}", found="it again", expected="it once", remedy="remove one of the lines"
    )
    assert len(str(error)) < LONGEST_LINE + 10
    assert str(error).startswith("text: key xxx") and str(error).endswith("; remove one of the lines")


def test_many_lines_stay_many_lines():
    lines = "\n".join(f"utterance {number} failed" for number in range(200))
    assert printable(lines) == lines
