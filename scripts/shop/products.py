"""product-service: GET /products/<id>."""

from service import serve

PRODUCTS = {"101": {"name": "Laptop"}, "102": {"name": "Phone"}}

serve({"/products/": PRODUCTS.get, "/health": lambda _: {"status": "ok"}})
