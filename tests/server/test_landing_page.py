"""`/`: a page for people, without scripts or anything from elsewhere."""

import re
import subprocess

import httpx

from tests.server.harness import say, serving


def test_the_page_names_the_model_and_its_links_work(server):
    page = httpx.get(f"{server.url}/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "toy" in page.text
    assert "<script" not in page.text
    links = re.findall(r'href="([^"]*)"', page.text)
    assert links
    for link in links:
        assert httpx.get(f"{server.url}/{link}").status_code == 200


def test_the_line_to_try_it_works(server, answer):
    page = httpx.get(f"{server.url}/").text
    line = re.search(r"<pre>(curl .*?)</pre>", page, re.DOTALL)[1]
    line = line.replace("&#x27;", "'").replace("&quot;", '"')
    done = subprocess.run(["sh", "-c", f"{line} -sS"], capture_output=True, text=True, timeout=60, check=True)
    assert answer in done.stdout


def test_a_hostile_host_header_is_escaped():
    with serving(say("x")) as server:
        page = httpx.get(f"{server.url}/", headers={"host": 'a"><script>alert(1)</script>'})
        assert "<script" not in page.text
