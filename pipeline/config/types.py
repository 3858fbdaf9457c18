"""The types of settings that several sections have, each with its rule."""

from typing import Annotated

from pydantic import Field

Seed = Annotated[int, Field(ge=0, lt=2**32)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Rows = Annotated[int, Field(ge=100)]
Share = Annotated[float, Field(gt=0, lt=1)]

SHA256 = r"^[0-9a-f]{64}$"
MODEL_NAME = r"^[^/:.%\"'\s][^/:%\"']*$"
VERSION = r"^[1-9]\d*$"
MEANT = {  # by a pattern, for people
    SHA256: "64 hexadecimal digits in lower case",
    MODEL_NAME: "a name without / : % and quotes that does not begin with a dot or a blank",
    VERSION: "the number of a version, such as 3",
}
