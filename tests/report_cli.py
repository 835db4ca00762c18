#!/usr/bin/env python3
"""Pages of --report as readers meet them: in headless Chromium, light and dark, on a telephone and on a wide screen.
Pages are drawn, ask for nothing, do not scroll sideways, their text stands out, and their HTML nests and is labelled.
Usage: report_cli.py COLLABORATE GRAFT_TESTS, of which the second writes a page with all that pages can have. Pictures
of the pages go to the folder $GRAFT_REPORT_PICTURES, if it is given."""
import base64
import contextlib
import html.parser
import json
import os
import pathlib
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

from toolchain import skip

COLLABORATE, TESTS = (sys.argv[1:3] + [""] * 2)[:2]
del sys.argv[1:3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FORMS = [(page, scheme, width) for page in ("collaborate", "everything") for scheme in ("light", "dark")
         for width in (360, 1600)]
EMPTY = {"meta", "link", "br", "img", "hr", "input"}  # elements of HTML without an end


class Chromium:
    """One browser, spoken to by the DevTools protocol over its pipe: JSON objects, each with a zero byte behind it."""

    def __init__(self, folder):
        to_read, self.to = os.pipe()
        self.of, to_write = os.pipe()

        def at_3_and_4():  # where the browser looks for its ends of the pipes
            ends = os.dup(to_read), os.dup(to_write)
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"],
            close_fds=False, preexec_fn=at_3_and_4, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(folder)})
        os.close(to_read)
        os.close(to_write)
        self.number, self.rest, self.events, self.session = 0, b"", [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.ask(domain + ".enable")

    def message(self, seconds=60):
        end = time.monotonic() + seconds
        while b"\0" not in self.rest:
            if not select.select([self.of], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("Chromium says nothing")
            piece = os.read(self.of, 1 << 20)
            if not piece:
                raise ConnectionError(f"Chromium has ended, exit code {self.process.wait()}")
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.to, json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def open(self, url, scheme, width, height=900):
        """The addresses that the page asked for, and what went wrong in it."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.ask("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        asked = [event["params"]["request"]["url"] for event in self.events
                 if event.get("method") == "Network.requestWillBeSent"]
        return asked, [event for event in self.events if event.get("method") == "Runtime.exceptionThrown"]

    def value(self, expression):
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def picture(self, width, height):
        """A PNG file of the page's top."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png", clip=clip,
                                         captureBeyondViewport=True)["data"])

    def close(self):
        self.session = None
        self.ask("Browser.close")
        self.process.wait(30)
        for end in (self.to, self.of):
            os.close(end)


def pixels(png):
    """Width, height and the rows (bytes of red, green, blue) of a PNG file of 8 bits a sample, by its standard."""
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert png[:8] == b"\x89PNG\r\n\x1a\n" and depth == 8 and kind in (2, 6) and png[28] == 0
    body, place = b"", 8
    while place < len(png):
        length, name = struct.unpack(">I4s", png[place:place + 8])
        body += png[place + 8:place + 8 + length] if name == b"IDAT" else b""
        place += 12 + length
    samples, raw, rows = 3 if kind == 2 else 4, zlib.decompress(body), []
    size, above = samples * width, bytearray(samples * width)
    for y in range(height):
        start = y * (size + 1)
        how, line = raw[start], bytearray(raw[start + 1:start + 1 + size])
        for i in range(size if how else 0):
            left, up = line[i - samples] if i >= samples else 0, above[i]
            corner = above[i - samples] if i >= samples else 0
            if how == 4:
                guess = left + up - corner
                near = min((abs(guess - left), 0), (abs(guess - up), 1), (abs(guess - corner), 2))[1]
                line[i] = (line[i] + (left, up, corner)[near]) & 255
            else:
                line[i] = (line[i] + (0, left, up, (left + up) // 2)[how]) & 255
        rows.append(line if samples == 3 else bytes(v for i, v in enumerate(line) if i % 4 < 3))
        above = line
    return width, height, rows


# Every text of the page that is seen, with its contrast by the formula of WCAG 2.2 to the ground that it stands on:
# that of the first element around it that has one; in a drawing its sheet. Text on the disc of a node is white on its
# colour and left out.
CONTRAST = r"""(() => {
  const number = colour => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 :
      Math.pow((v + 0.055) / 1.055, 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), own = walker.currentNode.parentElement;
    if (!text || own.closest('title')) continue;
    const svg = own.closest('svg');
    if (svg && own.getAttribute('fill') === '#fff') continue;
    let ground;
    if (svg) ground = number(getComputedStyle(svg.querySelector('rect')).fill);
    for (let e = own; !ground && e; e = e.parentElement) {
      const colour = number(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) ground = colour;
    }
    const style = getComputedStyle(own), a = light(number(svg ? style.fill : style.color)), b = light(ground);
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()"""

# What reaches out of the page: elements whose right end is beyond it, but those in a box that scrolls.
OUTSIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll *') &&
    e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(e => e.outerHTML.slice(0, 80))"""


class Structure(html.parser.HTMLParser):
    """What is wrong with a page's elements."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.links, self.wrong, self.levels, self.tags = [], [], [], [], [], {}
        self.labels, self.count = {}, 0  # of elements that need one, by their number
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag, _ in self.open]
        self.wrong += [f"id {i} is there twice" for i in set(self.ids) if self.ids.count(i) > 1]
        self.wrong += [f"no element has the id {link}" for link in self.links if link not in self.ids]
        self.wrong += [f"{what} has no label" for what, label in self.labels.values() if not label.strip()]
        if self.levels[:1] != [1] or self.levels.count(1) != 1:
            self.wrong.append(f"headings {self.levels}")
        self.wrong += [f"h{b} behind h{a}" for a, b in zip(self.levels, self.levels[1:]) if b > a + 1]

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in EMPTY:
            self.open.append((tag, self.count))

    def handle_startendtag(self, tag, attributes):
        self.count += 1
        self.tags[tag] = self.tags.get(tag, 0) + 1
        names = [name for name, _ in attributes]
        self.wrong += [f"<{tag}> has {name} twice" for name in set(names) if names.count(name) > 1]
        of = dict(attributes)
        if "id" in of:
            self.ids.append(of["id"])
        if tag in ("img", "svg", "table", "figure", "nav") or of.get("role") == "region":
            self.labels[self.count] = [f"{tag} {self.tags[tag]}", of.get("alt") or of.get("aria-label") or ""]
        if tag == "script" or any(name.startswith("on") for name in names):
            self.wrong.append(f"<{tag} {attributes}> is a script")
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "th" and of.get("scope") not in ("row", "col"):
            self.wrong.append("a head of a table without scope")
        for name, value in attributes:
            if name in ("src", "href", "xlink:href", "data", "action", "srcset") or name.startswith("on"):
                if not (name == "href" and value.startswith("#")):
                    self.wrong.append(f"<{tag}> names {value}")
                else:
                    self.links.append(value[1:])
            if "url(" in (value or ""):
                self.wrong.append(f"<{tag}> has {value}")

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            self.wrong.append(f"</{tag}> ends {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        # A title labels its svg, a caption its table, a figcaption its figure.
        if self.open and self.open[-1][0] in ("title", "span", "caption", "figcaption"):
            for tag, number in reversed(self.open):
                if tag in ("svg", "table", "figure") and number in self.labels:
                    self.labels[number][1] += data
                    break
        if self.open and self.open[-1][0] == "style" and re.search(r"url\(|@import|http", data):
            self.wrong.append("the style sheet asks for something")


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # the browser's helpers still write
        cls.folder = pathlib.Path(cls.scratch.name)
        cls.pages = {"collaborate": cls.folder / "collaborate.html", "everything": cls.folder / "everything.html"}
        subprocess.run([COLLABORATE, "--quiet", "--ablate", "--exchange", "prototypes", "--rounds", "40", "--train-ways", "5",
                        "--train-queries", "2", "--queries", "3", "--test-episodes", "20", "--validation-episodes", "4",
                        "--report", cls.pages["collaborate"]], check=True, capture_output=True, timeout=300)
        subprocess.run([TESTS, "[page]"], check=True, capture_output=True, timeout=100,
                       env={**os.environ, "GRAFT_REPORT_PAGE": str(cls.pages["everything"])})
        (cls.folder / "profile").mkdir()
        cls.browser = Chromium(cls.folder / "profile")

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.scratch.cleanup()

    @contextlib.contextmanager
    def opened(self, name, scheme, width):
        """What the page asked for, and what went wrong in it, while it is open."""
        with self.subTest(page=name, scheme=scheme, width=width):
            yield self.browser.open(self.pages[name].as_uri(), scheme, width)

    def test_structure(self):
        for name, page in self.pages.items():
            with self.subTest(page=name):
                text = page.read_text(encoding="utf-8")
                structure = Structure(text)
                self.assertEqual(structure.wrong, [])
                for tag in ("main", "nav", "h1", "h2", "table", "caption", "svg", "figcaption", "dl"):
                    self.assertGreater(structure.tags.get(tag, 0), 0, tag)
                self.assertNotIn("nan", re.sub(r"<[^>]*>", " ", text).lower().split())

    def test_faults_are_found(self):
        good = "<main><h1>a</h1><figure><svg><title>b</title></svg><figcaption>c</figcaption></figure></main>"
        self.assertEqual(Structure(good).wrong, [])
        for bad in (good.replace("</figure>", ""), good.replace("<title>b</title>", ""), good + "<h3>d</h3>",
                    good + '<p id="a"></p><p id="a"></p>', good + '<img alt="e" src="http://e.org/e.png">',
                    good + "<script>f()</script>", good + '<a href="#nowhere">g</a>', good + '<img src="#h">',
                    good + "<style>body{background:url(i.png)}</style>", good + "<table><tr><td>1</td></tr></table>"):
            self.assertNotEqual(Structure(bad).wrong, [], bad)

    def test_content(self):
        text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", self.pages["collaborate"].read_text(encoding="utf-8"),
                      flags=re.S)
        for words in ("Training of collaborative", "conflict matrix over time", "agreement of gradients",
                      "Accuracy in %", "±", "precision", "recall", "F1", "Transfer against", "episodes a second",
                      "parameters", "peak memory", "machine", "seed", "--learning-rate", "no-collaboration",
                      "collaborative: who listens to whom", "no-exchange"):
            self.assertIn(words, text)
        self.assertNotIn("no-exchange: who listens to whom", text)

    def test_nothing_is_asked_for(self):
        for form in FORMS:
            with self.opened(*form) as (asked, wrong):
                self.assertEqual(asked, [self.pages[form[0]].as_uri()])
                self.assertEqual(wrong, [])

    def test_the_page_does_not_scroll_sideways(self):
        for form in FORMS:
            with self.opened(*form):
                width = self.browser.value("document.documentElement.clientWidth")
                self.assertLessEqual(self.browser.value("document.documentElement.scrollWidth"), width)
                self.assertEqual(self.browser.value(OUTSIDE), [])
        # The check itself sees what is too wide.
        self.browser.value("document.querySelector('p').style.width = '5000px', "
                           "document.querySelector('p').style.maxWidth = 'none', 1")
        self.assertGreater(self.browser.value("document.documentElement.scrollWidth"), 4000)
        self.assertNotEqual(self.browser.value(OUTSIDE), [])

    def test_text_stands_out(self):
        for form in FORMS:
            with self.opened(*form):
                found = self.browser.value(CONTRAST)
                self.assertGreater(len(found), 100)
                self.assertGreaterEqual(found[0][0], 4.5, found[:5])  # WCAG 2.2, 1.4.3, level AA
        self.browser.value("document.querySelector('p').style.color = '#777', 1")
        self.assertLess(self.browser.value(CONTRAST)[0][0], 4.5)

    def test_text_of_pictures_is_not_too_small(self):
        smallest = "Math.min(...[...document.querySelectorAll('svg text')].map(e => " \
                   "parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a || 99).filter(size => size > 0))"
        for form in FORMS:
            with self.opened(*form):
                self.assertGreaterEqual(self.browser.value(smallest), 7)

    def test_pictures_of_the_pages(self):
        for name, scheme, width in FORMS:
            with self.opened(name, scheme, width):
                whole = self.browser.value("document.documentElement.scrollHeight")
                if folder := os.environ.get("GRAFT_REPORT_PICTURES"):
                    pathlib.Path(folder, f"{name}-{scheme}-{width}.png").write_bytes(self.browser.picture(width, whole))
                wide, high, rows = pixels(self.browser.picture(width, min(whole, 1200)))
                self.assertEqual((wide, high), (width, min(whole, 1200)))
                colours = {}
                for row in rows:
                    for i in range(0, len(row), 3):
                        colour = bytes(row[i:i + 3])
                        colours[colour] = colours.get(colour, 0) + 1
                self.assertGreater(len(colours), 50)
                # Most of it is the ground of its form, and there is more on it than a title.
                ground, count = max(colours.items(), key=lambda colour: colour[1])
                self.assertEqual(min(ground) > 240 if scheme == "light" else max(ground) < 40, True, (scheme, ground))
                self.assertLess(count, 0.97 * wide * high)
                if scheme == "dark":  # no white sheet in it
                    self.assertLess(sum(n for colour, n in colours.items() if min(colour) > 240), 0.02 * wide * high)


if __name__ == "__main__":
    if not CHROMIUM:
        skip("report", "there is no chromium")
        sys.exit(77)
    unittest.main()
