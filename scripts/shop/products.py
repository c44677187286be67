"""product-service: GET /products/<id>. As $VERSION v2 it says which version it is."""

import os

from service import serve

PRODUCTS = {"101": {"name": "Laptop"}, "102": {"name": "Phone"}}
if os.environ.get("VERSION") == "v2":
    PRODUCTS = {number: {**product, "version": "v2"} for number, product in PRODUCTS.items()}

serve({"/products/": PRODUCTS.get, "/health": lambda _: {"status": "ok"}})
