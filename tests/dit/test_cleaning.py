"""Caption cleaning beyond what was recorded."""

import pytest

from ea_dit.text.cleaning import clean_caption


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Two <b>dogs", "two dogs"),
        ("a < b", "a < b"),
        ("<script>var x = 1;</script>sea", "sea"),
        ("ﬁreworks　ｗｉｄｅ", "fireworks wide"),
        ("a\x00b\ufeffc", "abc"),
        ("cafe\u0301", "café"),
        ("1–2―3", "1-2-3"),
        ("mail@", "mail"),
    ],
)
def test_marks_and_markup(text, cleaned):
    assert clean_caption(text) == cleaned


def test_any_text_is_taken():
    for text in ("", "<", "&", "&#xZZ;", "<!--", "]]>", "%", "\ud800", "a" * 10_000, "<" * 1000):
        assert clean_caption(clean_caption(text)) is not None


def test_negative_passes_are_refused():
    with pytest.raises(ValueError, match="passes must be at least 0, got -1"):
        clean_caption("a", passes=-1)
