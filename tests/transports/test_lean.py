"""What is cut from browser files changes nothing that they do."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from wsd.transports.lean import bundle, lean, lean_script, lean_style

WEB = Path(str(files("wsd") / "web"))
NODE = shutil.which("node")


@pytest.mark.parametrize(
    ("text", "small"),
    [
        ("a = 1; // one\nb = 2;", "a=1;b=2;"),
        ("/** @type {X} */ (a).b", "(a).b"),
        ("a\nb", "a\nb"),
        ("}\n\n  b", "}b"),
        ("if (a) { const b = 1;\n}", "if(a){let b=1}"),
        ("for (;;) { while (f()); }", "for(;;){while(f());}"),
        ("return x", "return x"),
        ("a + +b - -c", "a+ +b- -c"),
        ('x = "a  // b"; y = \'/* c */\';', 'x="a  // b";y=\'/* c */\';'),
        ("x = `a  ${ b + `  // ${c}` }  d`;", "x=`a  ${ b + `  // ${c}` }  d`;"),
        ("x = a / b / c;", "x=a/b/c;"),
        ("x = /[/'] \\/ /g;", "x=/[/'] \\/ /g;"),
        ("f(/'/, 1)", "f(/'/,1)"),
        ("return / \"/.test(a)", "return/ \"/.test(a)"),
        ("(a) / 2 // '", "(a)/2"),
        ("class A { #long = 1; f() { return this.#long; } }", "class A{#a=1;f(){return this.#a}}"),
        ("`${this.#long}`; #long", "`${this.#long}`;#long"),
        ("const MOST = 1; if (a < MOST) b(MOST);", "let $a=1;if(a<$a)b($a);"),
        ("export const MOST = 1; f(MOST)", "export let MOST=1;f(MOST)"),
        ("const MOST = 1; export { MOST };", "let MOST=1;export{MOST};"),
        ("const MOST = 1; a.MOST = MOST", "let MOST=1;a.MOST=MOST"),
        ("const MOST = 1; x = { a, MOST }", "let MOST=1;x={a,MOST}"),
        ("const MOST = 1; x = `${MOST}`", "let MOST=1;x=`${MOST}`"),
        ("import { a } from './b.js';", "import{a}from'./b.js';"),
    ],
)  # fmt: skip
def test_scripts(text: str, small: str) -> None:
    assert lean_script(text) == small


def test_styles() -> None:
    text = "/* x */\n.a  .b > c:focus,\n.d { color: red;\n  width: calc(1px + 2px); }\n"
    assert lean_style(text) == ".a  .b > c:focus,.d{color:red;width:calc(1px + 2px)}"


def test_words() -> None:
    text = '{\n  "a": "ä  b",\n  "plain_a": "of the page without script"\n}'
    assert lean("lang/en.json", text) == '{"a":"ä  b"}'


MODULES = {
    "a.js": 'import {\n  b,\n  D,\n} from "./b.js";\nimport { c } from "./sub/c.js";\n'
    "const own = 3;\nconsole.log(b(), new D().own, c, own);\n",
    "b.js": 'import { c } from "./sub/c.js";\nconst one = 1;\n'
    "export function b() { return one + c; }\nexport class D { own = one; }\n",
    "sub/c.js": 'import { d } from "../d.js";\nexport const c = d * 10;\n',
    "d.js": "const seven = 7;\nconst d = seven;\nexport { d };\n",
}


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_modules_in_one_piece_do_the_same(tmp_path: Path) -> None:
    for name, text in {**MODULES, "bundle.js": lean_script(bundle(MODULES, "a.js"))}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    said = [run(tmp_path / name) for name in ("a.js", "bundle.js")]
    assert said == ["71 1 70 3\n"] * 2


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_entry_can_be_imported(tmp_path: Path) -> None:
    for name in ("b", "d"):
        (tmp_path / f"{name}.mjs").write_text(lean_script(bundle(MODULES, f"{name}.js")))
    (tmp_path / "user.mjs").write_text(
        'import { b, D } from "./b.mjs"; import { d } from "./d.mjs"; console.log(b(), d);'
    )
    assert run(tmp_path / "user.mjs") == "71 7\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('import * as b from "./b.js";', "b.js"),
        ("export default 1;", "export default"),
        ('import { a } from "./a.js";', "imports itself"),
        ('import { b as c } from "./b.js";', "two names: b as c"),
        ('import { b } from "./b.js";\nlet a = 1, other = 2;', "a.js: other is declared in b.js"),
    ],
)
def test_what_cannot_be_put_into_one_piece(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bundle({"a.js": text, "b.js": "export const b = 1;\nfunction other() {}"}, "a.js")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("name", sorted(str(p.relative_to(WEB)) for p in WEB.rglob("*.js")))
def test_every_script_is_still_one(tmp_path: Path, name: str) -> None:
    kind = "cjs" if name.startswith("wsd") else "mjs"
    path = tmp_path / f"small.{kind}"
    path.write_text(lean(name, (WEB / name).read_text()))
    run("--check", path)


def run(*arguments: str | Path) -> str:
    done = subprocess.run(
        [str(NODE), *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
