"""Visitors for the shop: most look at what is popular, and some buy.

python visitors.py http://127.0.0.1:8000 [SECONDS]
"""

from __future__ import annotations

import random
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

CATEGORIES = ["books", "games", "garden", "kitchen", "music", "tools"]


def visit(base: str) -> None:
    choice = random.random()
    if choice < 0.3:
        path = random.choice(["/", *(f"/?category={category}" for category in CATEGORIES)])
    elif choice < 0.9:
        path = f"/product/{1 + int(150 * random.random() ** 3)}"
    else:
        path = "/dashboard"
    urllib.request.urlopen(base + path, timeout=10).read()
    if choice > 0.995:
        urllib.request.urlopen(f"{base}/buy/{random.randrange(1, 151)}", data=b"", timeout=10).read()


def main() -> None:
    base, seconds = sys.argv[1].rstrip("/"), float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(3) as pool:
        while time.monotonic() < until:
            list(pool.map(visit, [base] * 12))
            time.sleep(0.2)
            urllib.request.urlopen(f"{base}/status", timeout=10).read()


if __name__ == "__main__":
    main()
