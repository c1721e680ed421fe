"""What the tests of the dashboard share: a small dataset, evil words, and how contrast is measured."""

from __future__ import annotations

import json
from pathlib import Path

from dataset_worlds import png, write_files

# What a plugin may write everywhere; as HTML it would change the page's title.
EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"

# Gives the texts of a page that have less than 4.5 : 1 against what is behind them.
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const blend = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const light = ([red, green, blue]) => {
    const part = (one) => ((one /= 255) <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
  };
  const weak = [];
  for (const node of document.querySelectorAll("body *")) {
    const says = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!says || !node.checkVisibility() || node.closest("svg, .sep, .skip, .hidden, :disabled")) continue;
    const behind = [];
    for (let at = node; at; at = at.parentElement) behind.unshift(getComputedStyle(at).backgroundColor);
    const paper = light(blend(behind)), ink = light(blend([...behind, getComputedStyle(node).color]));
    const ratio = (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05);
    const name = node.className || node.tagName;
    if (ratio < 4.5) weak.push(`${ratio.toFixed(2)} ${name}: ${node.textContent.slice(0, 30)}`);
  }
  return weak;
}"""


def write_coco(root: Path) -> None:
    """Write a dataset of two images with a box each."""
    names = ["images/1.png", "images/2.png"]
    images = [
        {"id": number, "file_name": name, "width": 100, "height": 80} for number, name in enumerate(names)
    ]
    boxes = [
        {"id": number, "image_id": number, "category_id": 1, "bbox": [9, 9, 40, 30]} for number in range(2)
    ]
    told = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    write_files(root, {"annotations.json": json.dumps(told), **dict.fromkeys(names, png())})
