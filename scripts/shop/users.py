"""user-service: GET /users/<id>."""

from service import serve

USERS = {"1": {"name": "Alice"}, "2": {"name": "Bob"}}

serve({"/users/": USERS.get, "/health": lambda _: {"status": "ok"}})
