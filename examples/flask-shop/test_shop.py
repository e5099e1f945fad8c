"""Drives the shop in a headless Chromium, as a person would, and looks at what it shows.

PG_BIN=…/bin python -m pytest examples/flask-shop          SCREENSHOT=file.png keeps a picture of the status page
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "clients" / "python"))

from tests.server import Server, pg_bin

webdriver = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import url_to_be
from selenium.webdriver.support.ui import WebDriverWait

PORTABLE = bool(os.environ.get("PG_STASH_SQL"))
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1140,860",
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The address of a shop of its own, with visitors."""
    log = tmp_path_factory.mktemp("shop") / "log"
    with Server() as server:
        url = server.create_database("shop")
        psql = [pg_bin() / "psql", "-Xq", "-d", url, "-f", HERE / "schema.sql"]
        subprocess.run(psql, check=True, stdout=subprocess.DEVNULL)
        # A home of its own, where gunicorn puts its control socket.
        environment = {**os.environ, "DATABASE_URL": url, "TZ": "UTC", "HOME": str(log.parent)}
        command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--workers",
            "2",
            "--threads",
            "4",
            "--bind",
            "127.0.0.1:0",
            "app:app",
        ]
        with open(log, "w") as stderr:
            process = subprocess.Popen(command, cwd=HERE, env=environment, stderr=stderr)
        try:
            for _ in range(200):
                found = re.search(r"Listening at: (\S+)", log.read_text())
                if found:
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            address = found[1]
            subprocess.run([sys.executable, HERE / "visitors.py", address, "15"], check=True, timeout=60)
            yield address
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


def number(browser, name):
    return int(browser.find_element(By.ID, name).text.replace(",", ""))


def test_pages_come_from_the_cache(shop, browser):
    def took():
        browser.get(f"{shop}/?category=music")
        return browser.find_element(By.TAG_NAME, "footer").text

    # The footer says when the page was made: the second look shows the first one's page.
    assert took() == took()
    assert len(browser.find_elements(By.CSS_SELECTOR, ".products .card")) == 20


def test_buying_changes_the_dashboard_at_once(shop, browser):
    browser.get(f"{shop}/dashboard")
    before = number(browser, "orders")
    for bought in (1, 2):
        browser.get(f"{shop}/product/3")
        browser.find_element(By.TAG_NAME, "button").click()
        WebDriverWait(browser, 20).until(url_to_be(f"{shop}/dashboard"))
        assert number(browser, "orders") == before + bought
    assert len(browser.find_elements(By.CSS_SELECTOR, ".bars rect")) == 6


def test_the_status_page(shop, browser):
    browser.get(f"{shop}/status")
    assert number(browser, "entries") > 20
    assert len(browser.find_elements(By.CSS_SELECTOR, ".card.cache")) == 2
    assert browser.find_element(By.ID, "sweeper").text
    # Nothing is wider than the window, and every picture is seen.
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert all(picture.size["height"] > 0 for picture in browser.find_elements(By.TAG_NAME, "svg"))
    if os.environ.get("SCREENSHOT"):
        frame = browser.get_window_size()["height"] - browser.execute_script("return window.innerHeight")
        browser.set_window_size(1140, browser.execute_script("return document.body.scrollHeight") + frame)
        browser.save_screenshot(os.environ["SCREENSHOT"])


@pytest.mark.skipif(not PORTABLE, reason="the extension counts reads")
def test_the_status_page_says_what_is_not_counted(shop, browser):
    browser.get(f"{shop}/status")
    assert browser.find_element(By.ID, "hits").text == "-"
    assert browser.find_element(By.CSS_SELECTOR, ".donut text").text == "-"
    assert "does not count reads" in browser.find_element(By.CSS_SELECTOR, ".empty").text


@pytest.mark.skipif(PORTABLE, reason="the portable edition does not count reads")
def test_the_status_page_counts_reads(shop, browser):
    browser.get(f"{shop}/status")
    assert number(browser, "hits") > 0
    assert 0.3 < float(browser.find_element(By.CSS_SELECTOR, ".donut text").text.rstrip("%")) / 100 <= 1
    assert browser.find_element(By.CSS_SELECTOR, ".area .line").size["width"] > 200
    hits = number(browser, "hits")
    browser.get(shop)
    browser.get(shop)
    browser.get(f"{shop}/status")
    assert number(browser, "hits") > hits
