"""How a program asks this server: one request with curl, in Python and in JavaScript."""

import json
import shlex
from pprint import pformat
from textwrap import indent
from typing import Any

CURL = """\
curl {address} \\
  -H 'Content-Type: application/json' \\
{key}  -d {body}"""
PYTHON = """\
{key_import}import requests

response = requests.post(
    {url},
    json={body},
{key}    timeout=30,
)
response.raise_for_status()
print(response.json()["predictions"])"""
JAVASCRIPT = """\
const response = await fetch({url}, {{
  method: "POST",
  headers: {{ "Content-Type": "application/json"{key} }},
  body: JSON.stringify({body}),
}});
const answer = await response.json();
if (!response.ok) throw new Error(answer.message);
console.log(answer.predictions);"""
KEYS = {  # from the variable KEY
    "curl": '  -H "Authorization: Bearer $KEY" \\\n',
    "Python": '    headers={"Authorization": "Bearer " + os.environ["KEY"]},\n',
    "JavaScript": ', Authorization: "Bearer " + process.env.KEY',
}


def snippets(address: str, body: Any, with_key: bool) -> dict[str, str]:
    """Returns the code by language, which prints the predictions."""
    keys = KEYS if with_key else dict.fromkeys(KEYS, "")
    text, url = json.dumps(body, ensure_ascii=False, indent=1), json.dumps(address)
    python = indent(pformat(body, sort_dicts=False), "    ").strip()
    return {
        "curl": CURL.format(address=shlex.quote(address), key=keys["curl"], body=shlex.quote(text)),
        "Python": PYTHON.format(
            key_import="import os\n\n" * with_key, url=url, body=python, key=keys["Python"]
        ),
        "JavaScript": JAVASCRIPT.format(url=url, body=text, key=keys["JavaScript"]),
    }
