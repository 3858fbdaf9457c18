"""How a CSV file is written, where that is not to be found out from the file."""

import codecs

from pydantic import Field, field_validator

from pipeline.schema.columns import Frozen

TAB = ("tab", r"\t")  # what people write for it where a tab is hard to type


class Csv(Frozen):
    """The dialect of a CSV file; what is null is found out from its first lines."""

    separator: str | None = Field(
        None, description="the character between two cells; tab, or one such as ; ; null to detect"
    )
    decimal: str | None = Field(
        None, description="the decimal mark of numbers, . or , ; null to detect"
    )
    encoding: str | None = Field(
        None, description="such as utf-8 or cp1252; null for UTF-8 or UTF-16, else cp1252"
    )
    comment: str | None = Field(
        None, description="how lines before the header begin that are to be skipped; null for #"
    )
    quote: str | None = Field(
        None, description="the character around a cell that holds a separator, empty for none"
    )

    @field_validator("separator")
    @classmethod
    def _separator_is_a_character(cls, separator: str | None) -> str | None:
        if separator in TAB:
            return "\t"
        if separator is not None and (len(separator) != 1 or separator in '\r\n"'):
            raise ValueError(f"{separator!r} is not one character, such as ',' or ';', or tab")
        return separator

    @field_validator("decimal")
    @classmethod
    def _decimal_is_a_mark(cls, decimal: str | None) -> str | None:
        if decimal not in (None, ".", ","):
            raise ValueError(f"{decimal!r} is not a decimal mark; choose '.' or ','")
        return decimal

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, encoding: str | None) -> str | None:
        try:
            is_text = encoding is None or isinstance("a".encode(encoding), bytes)
        except (LookupError, UnicodeError, ValueError):
            is_text = False
        if not is_text:
            raise ValueError(f"{encoding!r} is no encoding of texts, such as utf-8 or cp1252")
        return encoding if encoding is None else codecs.lookup(encoding).name

    @field_validator("quote")
    @classmethod
    def _quote_is_a_character(cls, quote: str | None) -> str | None:
        if quote is not None and (len(quote) > 1 or quote in ("\r", "\n")):
            raise ValueError(f"{quote!r} is not one character, nor empty")
        return quote
