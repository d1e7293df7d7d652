"""A site that has the chat in one of its pages: enough of it to see how the two go together."""

from __future__ import annotations

from pathlib import Path

STYLE = Path(__file__).with_name("shop.css").read_text()

WORDS = {
    "en": (
        "Ferry Line", ("Timetable", "Tickets", "The island"), "To the island and back",
        "Forty minutes across the bay, five times a day. Ask the others on board what to see.",
        (("9:30", "on time"), ("11:00", "seats left"), ("15:00", "quiet"), ("17:30", "last boat")),
    ),
    "zh-CN": (
        "海岛轮渡", ("班次", "船票", "海岛"), "去海岛，看灯塔",
        "横渡海湾只需四十分钟，每天五班。想知道岛上有什么好看的，可以问问同船的人。",
        (("9:30", "准点"), ("11:00", "有余票"), ("15:00", "人少"), ("17:30", "末班")),
    ),
    "ar": (
        "خط العبّارات", ("المواعيد", "التذاكر", "الجزيرة"), "إلى الجزيرة ذهابًا وإيابًا",
        "أربعون دقيقة عبر الخليج، خمس مرات في اليوم. اسألوا المسافرين الآخرين عمّا يستحق المشاهدة.",
        (("9:30", "في موعدها"), ("11:00", "مقاعد متاحة"), ("15:00", "هادئة"),
         ("17:30", "آخر رحلة")),
    ),
}  # fmt: skip


def shop(language: str, tag: str, *, beside: bool) -> tuple[str, str]:
    """(head, body) of the page; the chat stands ``beside`` the text, or floats over it."""
    name, links, title, text, boats = WORDS[language]
    nav = "".join(f'<a href="#">{link}</a>' for link in links)
    rows = "".join(f"<tr><td>{time}</td><td>{what}</td></tr>" for time, what in boats)
    direction = "rtl" if language == "ar" else "ltr"
    return f"<style>{STYLE}</style>", (
        f'<div lang="{language}" dir="{direction}"><header><strong>{name}</strong>{nav}</header>'
        f'<div class="sea"></div><main class="{"" if beside else "alone"}">'
        f"<section><h1>{title}</h1><p>{text}</p><table>{rows}</table></section>"
        f"<section>{tag}</section></main></div>"
    )
