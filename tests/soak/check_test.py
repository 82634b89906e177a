# SPDX-License-Identifier: Apache-2.0
"""The checker finds each kind of violation in a history that has one, and
nothing in one that has none."""
import unittest

import check


def history():
    """Two documents and two questions, a kill, and a complete audit."""
    out = []

    def event(e, **values):
        out.append({"e": e, "t": float(len(out)), **values})

    def job(op, kind, what, result, tokens=()):
        event("submit", op=op, kind=kind, key=f"key-{op}", via="submit",
              **what)
        event("accepted", op=op, job=op + 1, epoch=1, via="submit")
        for i, (id_, text) in enumerate(tokens):
            event("token", op=op, job=op + 1, index=i, id=id_, text=text,
                  via="submit")
        for via in ("submit", "audit", "watch"):
            if via != "submit":
                event("accepted", op=op, job=op + 1, epoch=2, via=via)
            event("done", op=op, job=op + 1, via=via, segments=3,
                  finish="length" if tokens else "", document="d", **result)

    event("text", text=0, tokens=101)
    event("reading", interval=64, layers=3)
    for segments in (0, 100, 183, 99, 160, 300):  # 84 back, which is allowed
        event("progress", op=0, job=1, segments=segments, via="submit")
    for seed, ids in ((1, [5, 6]), (2, [7])):
        event("reference", text=0, question=0, seed=seed, length=2, ids=ids)
    for op in (0, 1):
        job(op, "add", {"name": f"d{op}", "text": 0},
            {"ids": [], "text": "", "tokens": 101})
        event("kill", what="rank", pids=[op])
    asked = {"document": "d0", "text": 0, "question": 0, "length": 2}
    job(2, "ask", {**asked, "seed": 1},
        {"ids": [5, 6], "text": "ab\ufffd", "tokens": 9},
        [(5, "a"), (6, "b")])
    job(3, "ask", {**asked, "seed": 2},
        {"ids": [7], "text": "c", "tokens": 9}, [(7, "c")])
    event("submit", op=4, kind="add", key="key-1", via="abuse", name="f",
          text=0)
    event("refused", op=4, via="abuse", job=0, code="arg", text="no", retry=0)
    event("refused", op=3, via="again", job=0, code="limit", text="later",
          retry=2)
    event("jobs", jobs=[{"job": n, "kind": "add", "document": "d",
                         "state": check.DONE, "code": ""}
                        for n in (1, 2, 3, 4)])
    event("audit_ends", left=[])
    event("left", ended=True, code=0, left=[])
    return out


def find(events, e, **values):
    return next(x for x in events if x["e"] == e
                and all(x[k] == v for k, v in values.items()))


class Check(unittest.TestCase):
    def setUp(self):
        self.events = history()

    def rules(self):
        return {rule for rule, _ in check.Checker(self.events).check()}

    def found(self, rule):
        self.assertIn(rule, self.rules())

    def drop(self, **values):
        self.events = [x for x in self.events if not all(
            x.get(k) == v for k, v in values.items())]

    def test_nothing_is_wrong(self):
        self.assertEqual(check.Checker(self.events).check(), [])

    def test_a_job_without_an_end(self):
        self.drop(e="done", job=2)
        self.found("lost")

    def test_a_job_whose_key_finds_nothing(self):
        self.drop(e="done", job=2, via="audit")
        self.found("lost")

    def test_a_job_that_is_in_no_list(self):
        find(self.events, "jobs")["jobs"].pop()
        self.found("lost")

    def test_a_key_that_is_two_jobs(self):
        find(self.events, "accepted", op=1, via="audit")["job"] = 77
        self.found("duplicate")

    def test_a_job_that_is_of_two_keys(self):
        for x in self.events:
            if x.get("op") == 1 and "job" in x:
                x["job"] = 1
        self.found("duplicate")

    def test_another_result_on_another_day(self):
        done = find(self.events, "done", op=2, via="watch")
        for name, other in (("ids", [5, 9]), ("text", "x"), ("tokens", 8),
                            ("segments", 4), ("finish", "stop")):
            with self.subTest(name):
                kept, done[name] = done[name], other
                self.found("results")
                done[name] = kept

    def test_done_and_failed(self):
        done = find(self.events, "done", op=2, via="watch")
        done.update(e="refused", code="poison", text="x", retry=0)
        self.found("results")

    def test_a_token_that_changes(self):
        token = find(self.events, "token", op=2, index=1)
        self.events.append({**token, "id": 8, "t": token["t"] + 0.5})
        self.found("token")

    def test_a_token_that_is_not_in_the_result(self):
        find(self.events, "token", op=2, index=1)["id"] = 8
        self.found("token")

    def test_text_that_is_not_in_the_result(self):
        find(self.events, "token", op=2, index=1)["text"] = "z"
        self.found("token")

    def test_text_that_was_never_told(self):
        for x in self.events:
            if x["e"] == "done" and x["op"] == 3:
                x["text"] = "cd"
        self.found("token")

    def read(self, *segments):
        """What was told of job 2 meanwhile."""
        at = find(self.events, "accepted", op=1)["t"]
        self.events += [{"e": "progress", "t": at + i / 100, "op": 1,
                         "job": 2, "via": "submit", "segments": n}
                        for i, n in enumerate(segments)]

    def stand(self, *told, job=2):
        """What was seen of a job meanwhile: (segments, durable)."""
        at = find(self.events, "accepted", op=1)["t"]
        self.events += [{"e": "standing", "t": at + i / 100, "job": job,
                         "segments": n, "checkpoint": k}
                        for i, (n, k) in enumerate(told)]

    # Of the checkpoint at 64 it is known, 20 segments later, that it is there:
    # 17 ran while it was written, and 3 are the layers'.
    WRITE = ((10, 0), (84, 64))

    def test_a_reading_that_goes_back_too_far(self):
        self.stand(*self.WRITE, job=9)
        self.read(0, 400, 400 - 64 - 3 - 17 - 1, 500)
        self.found("redone")

    def test_a_reading_that_begins_anew(self):
        self.stand(*self.WRITE, job=9)
        self.read(85, 0)
        self.found("redone")

    def test_readings_that_go_back_as_far_as_they_may(self):
        self.stand(*self.WRITE, job=9)
        self.read(0, 400, 400 - 84, 399, 399 - 84, 231, 147, 84, 0)
        self.assertNotIn("redone", self.rules())

    def test_a_write_takes_an_interval_at_most(self):
        self.stand((0, 0), (500, 64), job=9)
        self.read(0, 400, 400 - 2 * 64 - 3)
        self.assertNotIn("redone", self.rules())
        self.read(0, 400, 400 - 2 * 64 - 4)
        self.found("redone")

    def test_nobody_saw_a_write(self):
        self.read(0, 131, 0)
        self.assertNotIn("redone", self.rules())
        self.read(132, 0)
        self.found("redone")

    def test_what_was_durable_is_not_read_again(self):
        self.stand((100, 64), (140, 64), (64, 64), (150, 128), (128, 128))
        self.assertNotIn("redone", self.rules())

    def test_one_segment_of_what_was_durable_is(self):
        self.stand((100, 64), (140, 128), (127, 128))
        self.found("redone")

    def test_an_older_checkpoint_is_used(self):
        self.stand((100, 64), (140, 128), (130, 64))
        self.found("redone")

    def test_readings_of_no_known_interval(self):
        self.drop(e="reading")
        self.found("reading")

    def test_another_answer_than_undisturbed(self):
        find(self.events, "reference", seed=2)["ids"] = [8]
        self.found("answer")

    def test_a_document_that_was_read_in_part(self):
        for x in self.events:
            if x["e"] == "done" and x["op"] == 1:
                x["tokens"] = 100
        self.found("answer")

    def fail_with(self, code, kills):
        for x in self.events:
            if x["e"] == "done" and x["op"] == 3:
                x.update(e="refused", code=code, text="x", retry=0)
        at = find(self.events, "accepted", op=3)["t"]
        self.events += [{"e": "kill", "t": at, "what": "rank", "pids": [1]}
                        for _ in range(kills)]

    def test_a_failure_for_no_reason(self):
        self.fail_with("state", 3)
        self.found("failed")

    def test_poison_that_cost_too_little(self):
        self.fail_with("poison", 2)
        self.found("failed")

    def test_poison_that_cost_three_worlds(self):
        self.fail_with("poison", 3)
        self.assertNotIn("failed", self.rules())

    def test_a_refusal_for_no_reason(self):
        find(self.events, "refused", via="again")["code"] = "notfound"
        self.found("refused")

    def test_a_key_for_two_contents(self):
        refused = find(self.events, "refused", via="abuse")
        refused.update(e="accepted", job=5)
        self.found("key")

    def test_a_job_of_nobody(self):
        listed = find(self.events, "jobs")["jobs"]
        listed.append({**listed[0], "job": 99})
        self.found("stranger")

    def test_a_result_of_nobody(self):
        done = find(self.events, "done", op=3, via="watch")
        self.events.append({**done, "job": 99})
        self.found("stranger")

    def test_a_job_that_does_not_end(self):
        find(self.events, "jobs")["jobs"][2]["state"] = 2
        self.found("unended")

    def test_a_key_that_the_audit_waits_for(self):
        find(self.events, "audit_ends")["left"] = [2]
        self.found("unended")

    def test_no_audit(self):
        self.drop(e="audit_ends")
        self.found("audit")

    def test_what_is_left_behind(self):
        find(self.events, "left")["left"] = ["rank 7"]
        self.found("left")

    def test_an_end_that_went_wrong(self):
        find(self.events, "left")["code"] = 1
        self.found("left")


if __name__ == "__main__":
    unittest.main()
