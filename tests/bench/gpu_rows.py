#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rows of docs/benchmarks.md from what longwave-bench and gpu_peer.py said.

usage: gpu_rows.py LINES [DOCUMENT]

LINES: a file with a JSON object a line.  Prints the tables; with DOCUMENT,
also puts them between its lines "<!-- test-gpu -->" and "<!-- end -->".
"""
import json
import sys

BEGIN, END = "<!-- test-gpu -->", "<!-- end -->"
FULL = 790e12  # the rate that times are scaled to


def mega(run):
    return run["device_bytes"] / 1e6


def run_row(line):
    runs = {r["schedule"]: r for r in line["runs"]}
    fast, slow = runs["diagonal"], runs.get("sequential")
    rate = line["product_flops_per_second"]
    what = ", read" if line.get("rows") == "read" else ""
    cells = [f"{line['preset']}, {line['segment']}, {line['tokens']:,}{what}",
             f"{fast['seconds']:.3f}",
             f"{100 * fast['fraction_of_product']:.0f} %",
             f"{fast['seconds'] * rate / FULL:.3f}",
             f"{slow['seconds']:.3f}" if slow else "",
             f"{slow['seconds'] / fast['seconds']:.2f}" if slow else "",
             f"{rate / 1e12:.0f}", f"{mega(fast):,.0f}",
             f"{fast['state_norm']:.3g}"]
    return "| " + " | ".join(cells) + " |"


def decode_row(line):
    d = line["decode"]
    ms = 1e3 * d["seconds"] / d["steps"]
    return (f"| {line['preset']}, {d['jobs']} | {d['tokens_per_second']:,.0f} "
            f"| {ms:.2f} | {100 * d['fraction_of_read']:.0f} % "
            f"| {line['read_bytes_per_second'] / 1e9:,.0f} |")


def peer_rows(line):
    ours = line["ours"]["runs"][0]["seconds"]
    for peer in line["peers"]:
        yield (f"| {line['ours']['preset']}, {peer['segment']}, "
               f"{peer['tokens']:,} | {ours:.3f} | {peer['mode']} "
               f"| {peer['seconds']:.3f} | {peer['seconds'] / ours:.2f} |")


def tables(lines):
    runs = [x for x in lines if x.get("runs")]
    answers = [x for x in lines if "decode" in x]
    peers = [x for x in lines if "peers" in x]
    names = sorted({x["device_name"] for x in runs + answers})
    out = [f"On {' and '.join(names)}, {runs[0]['mem'] if runs else 0} memory "
           "tokens:", ""]
    if runs:
        out += ["| model, segments of, tokens | diagonal, s | of product | at "
                "790 TFLOP/s | sequential, s | times | 8192^3, TFLOP/s | MB "
                "beside the weights | state norm |",
                "|---|---|---|---|---|---|---|---|---|"]
        out += [run_row(x) for x in runs] + [""]
    if answers:
        out += ["| answers of, jobs | tokens/s | ms a step | of what the device "
                "reads | reads, GB/s |", "|---|---|---|---|---|"]
        out += [decode_row(x) for x in answers] + [""]
    if peers:
        out += ["| the engine and PyTorch in one call | engine, s | PyTorch | "
                "s | times |", "|---|---|---|---|---|"]
        out += [row for x in peers for row in peer_rows(x)] + [""]
    return out


def replace(path, rows):
    with open(path, encoding="utf-8") as f:
        text = f.read().split("\n")
    begin, end = text.index(BEGIN), text.index(END)
    text[begin + 1:end] = [""] + rows
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(text))


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as f:
        lines = [json.loads(x) for x in f if x.startswith("{")]
    if not lines:
        sys.exit("there are no rows")
    rows = tables(lines)
    print("\n".join(rows))
    if len(sys.argv) == 3:
        replace(sys.argv[2], rows)


if __name__ == "__main__":
    main()
