"""Make the pictures in ``docs/pictures``: ``python -m tests.browser.pictures``."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.browser import open_window
from tests.support.daemon import Daemon

WHERE = Path(__file__).parents[2] / "docs" / "pictures"
TALK = (
    (0, "Good morning! Has anybody tried the new ferry to the island?"),
    (1, "Yes, last Sunday. Sit on the left going out: the lighthouse is worth it."),
    (2, "下午三点那班也很好，人少。 https://example.com/ferry"),
    (0, "Wonderful, thank you both."),
)


def main() -> None:
    WHERE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder) / "wsd").start()
        looks = (
            ("desktop-light", {}),
            ("phone-dark", {"size": (390, 844), "dark": True}),
            ("desktop-chinese-dark", {"language": "zh-CN", "dark": True}),
        )
        windows = [
            open_window(daemon.url, Path(folder) / name, **look)  # type: ignore[arg-type]
            for name, look in looks
        ]
        try:
            for count, (speaker, text) in enumerate(TALK, 1):
                field = windows[speaker].find_element(By.ID, "text")
                field.send_keys(text, Keys.ENTER)
                for window in windows:
                    WebDriverWait(window, 10).until(
                        lambda w, n=count: len(w.find_elements(By.CSS_SELECTOR, "[data-seq]")) >= n
                    )
            time.sleep(2)  # presence is told once a second
            for window, (name, _) in zip(windows, looks, strict=True):
                window.save_screenshot(str(WHERE / f"{name}.png"))
        finally:
            for window in windows:
                window.quit()
            daemon.stop()


if __name__ == "__main__":
    main()
