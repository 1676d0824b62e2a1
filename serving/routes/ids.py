"""What ids and names may be in a request."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("the character U+0000 is in no id")
    return text


Id = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_without_nul)]
