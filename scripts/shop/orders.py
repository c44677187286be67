"""order-service: GET /orders/<id>, put together from the other two, which it calls by their Service names."""

import json
import os
import urllib.request

from service import serve

ORDERS = {"5001": {"user": "1", "product": "101"}}


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def order(number):
    found = ORDERS.get(number)
    if found is None:
        return None
    return {
        "order_id": number,
        "user": fetch(f"{os.environ['USER_SERVICE_URL']}/users/{found['user']}"),
        "product": fetch(f"{os.environ['PRODUCT_SERVICE_URL']}/products/{found['product']}"),
    }


serve({"/orders/": order, "/health": lambda _: {"status": "ok"}})
