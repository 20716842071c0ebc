"""Operations: what a route is called in the API's document, in the audit, and in every generated client."""

from fastapi.routing import APIRoute


def operation_id(route: APIRoute) -> str:
    """The function's name in camel case: `sign_up` is `signUp`."""
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)
