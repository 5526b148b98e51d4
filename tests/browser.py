"""Headless Chromium for tests of pages: opens one, presses keys, reads what it shows and asks for."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains

MISSING = (
    "tests of pages need Chromium and its driver, {} is not on the PATH: "
    "apt-get install chromium chromium-driver"
)
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--window-size=1280,1600",
)


def _program(*names):
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.fail(MISSING.format(names[0]))
    return found


class Browser:
    """One Chromium, and a folder for its pages and downloads."""

    def __init__(self):
        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
        for flag in FLAGS:
            options.add_argument(flag)
        if os.getuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium's own needs another user than root
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.folder = Path(tempfile.mkdtemp(prefix="pages-"))
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(_program("chromedriver")))

    def close(self):
        self.driver.quit()
        shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, content, before=""):
        """A page from its bytes, as on a first visit; `before`: a script to run before its own."""
        page = self.folder / "page.html"
        page.write_bytes(b"")
        self.driver.get(page.as_uri())
        self.run("localStorage.clear()")
        page.write_bytes(content)
        self.log()
        added = self.command("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.driver.get(page.as_uri())
        self.command("Page.removeScriptToEvaluateOnNewDocument", **added)
        assert self.run("return document.documentElement.dataset.ready") == "true"

    def reload(self):
        self.driver.refresh()

    def run(self, script, *values):
        return self.driver.execute_script(script, *values)

    def wait_for(self, script, *values):
        """Runs a script that calls its last argument when it is done; returns what it gives."""
        return self.driver.execute_async_script(script, *values)

    def command(self, name, **values):
        return self.driver.execute_cdp_cmd(name, values)

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def click(self, selector):
        self.driver.find_element("css selector", selector).click()

    def text(self, selector):
        """Text of the first element, hidden or not."""
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def choose_file(self, selector, path):
        self.driver.find_element("css selector", selector).send_keys(str(path))

    def size(self, width, height=900):
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def scheme(self, name):
        self.command(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": name}],
        )

    def download(self, selector, name):
        """The bytes of a file that a click on a button saves."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        self.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.click(selector)
        until = time.monotonic() + 20
        while not (folder / name).exists():
            assert time.monotonic() < until, f"no {name}: {list(folder.iterdir())}"
            time.sleep(0.02)
        return (folder / name).read_bytes()

    def log(self):
        """Console messages and the addresses asked for, since the last look."""
        messages = [entry["message"] for entry in self.driver.get_log("browser")]
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return messages, [url for url in asked if not url.startswith("data:")]
