"""Sentences for people."""


def shortened(sentence: str, longest: int = 500) -> str:
    """A sentence of at most `longest` characters: of a longer one beginning and end, where causes stand."""
    if len(sentence) <= longest:
        return sentence
    end = longest // 3
    return f"{sentence[: longest - end - 3]} … {sentence[-end:]}"
