"""Types that members of several documents share, with the limits that JSON Schema states."""

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=0)]
# msgspec has no Literal[True].
Yes = Annotated[bool, Meta(extra_json_schema={"const": True})]
No = Annotated[bool, Meta(extra_json_schema={"const": False})]
Reason = Annotated[str, Meta(min_length=1)]
