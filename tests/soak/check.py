# SPDX-License-Identifier: Apache-2.0
"""Decides from a history alone whether the promises were kept: P1 nothing
acknowledged is lost, P2 one result for a key, P3 no reading goes back further
than it may, P4 the answers of an undisturbed run, P5 every job ends.

usage: check.py HISTORY...

Knows neither the daemon nor who wrote the history.  Prints each violation
and exits with status 1 when there is one."""
import collections
import json
import sys

import history

TRANSIENT = {"limit", "state", "timeout", "nomem"}  # tried again by anybody
RESULT = ("ids", "text", "tokens", "segments", "finish", "document")
DONE, FAILED, CANCELED = 3, 4, 5  # JobState
STRIKES = 3  # worlds that a job may cost
LISTED = 256  # ended jobs that a list has at least, where there are so many


class Checker:
    def __init__(self, events):
        self.events = events
        self.found = []  # (rule, sentence)
        self.submits = {}  # op: its first submission
        self.jobs = collections.defaultdict(dict)  # key: {job: event}
        self.ends = collections.defaultdict(list)  # job: terminal events
        self.tokens = collections.defaultdict(dict)  # job: {index: (id, text)}
        self.refused = collections.defaultdict(list)  # op: without a job
        self.kills = []
        self.reference = {}
        self.progress = collections.defaultdict(list)  # job: (t, segments)
        self.standing = collections.defaultdict(list)  # job: events
        self.only = collections.defaultdict(list)  # of these one is expected
        for event in events:
            getattr(self, "see_" + event["e"], self.see_nothing)(event)
        self.sort_refusals()

    def bad(self, rule, text):
        self.found.append((rule, text))

    # ------------------------------------------------------------- reading
    def see_nothing(self, event):
        self.only[event["e"]].append(event)

    def see_submit(self, e):
        self.submits.setdefault(e["op"], e)

    def see_kill(self, e):
        self.kills.append(e["t"])

    def see_reference(self, e):
        self.reference[(e["text"], e["question"], e["seed"],
                        e["length"])] = e["ids"]

    def see_accepted(self, e):
        if e["via"] == "abuse":
            self.bad("key", f"op {e['op']}: the key of another content was "
                     f"accepted as job {e['job']}")
            return
        key = self.submits[e["op"]]["key"]
        self.jobs[key].setdefault(e["job"], e)

    def see_token(self, e):
        said = (e["id"], e["text"])
        if self.tokens[e["job"]].setdefault(e["index"], said) != said:
            self.bad("token", f"job {e['job']}: token {e['index']} was "
                     f"{self.tokens[e['job']][e['index']]}, then {said}")

    def see_progress(self, e):
        self.progress[e["job"]].append((e["t"], e["segments"]))

    def see_standing(self, e):
        self.progress[e["job"]].append((e["t"], e["segments"]))
        self.standing[e["job"]].append(e)

    def see_done(self, e):
        self.ends[e["job"]].append(e)

    def see_refused(self, e):
        if e["via"] == "abuse":
            if e["code"] not in TRANSIENT | {"arg"}:
                self.bad("key", f"op {e['op']}: refused with {e['code']}")
        else:
            self.refused[e["op"]].append(e)

    def sort_refusals(self):
        """A refusal that names an acknowledged job is that job's end; one
        that names another only says that a submission came to nothing."""
        known = {job for jobs in self.jobs.values() for job in jobs}
        for op, refusals in self.refused.items():
            for e in refusals:
                if e["job"] in known:
                    self.ends[e["job"]].append(e)
            self.refused[op] = [e for e in refusals if e["job"] not in known]

    # ------------------------------------------------------------ the rules
    def check_jobs(self):
        """A key is one job, and a job has one key."""
        keys = {}
        for key, jobs in self.jobs.items():
            if len(jobs) > 1:
                self.bad("duplicate", f"{key} is jobs {sorted(jobs)}")
            for job in jobs:
                if keys.setdefault(job, key) != key:
                    self.bad("duplicate", f"job {job} is {keys[job]} and "
                             f"{key}")

    def check_ends(self):
        """What was acknowledged has ended, and always in the same way."""
        for key, jobs in self.jobs.items():
            for job in jobs:
                ends = self.ends.get(job, [])
                late = {e["via"] for e in ends} & {"audit", "watch"}
                if not ends:
                    self.bad("lost", f"{key}, job {job}: acknowledged, and "
                             "no end was ever heard of")
                elif "audit" not in late:
                    self.bad("lost", f"{key}, job {job}: its key does not "
                             "find its result any more")
                self.check_same(job, ends)
        for job in self.ends:
            if not any(job in jobs for jobs in self.jobs.values()):
                self.bad("stranger", f"job {job} ended, and nobody was told "
                         "that there is one")

    def check_same(self, job, ends):
        seen = {(e["e"], e.get("code"),
                 *(str(e.get(name)) for name in RESULT)) for e in ends}
        if len(seen) > 1:
            # A failure's sentence is part of the result, too.
            self.bad("results", f"job {job} has {len(seen)} results: "
                     f"{sorted(map(str, seen))[:2]}")

    def check_tokens(self):
        """What was told while it was drawn is what the result says."""
        for job, tokens in self.tokens.items():
            for e in self.ends.get(job, []):
                if e["e"] != "done":
                    continue
                wrong = [i for i, (id_, _) in tokens.items()
                         if i >= len(e["ids"]) or e["ids"][i] != id_]
                if wrong:
                    self.bad("token", f"job {job}: tokens {wrong[:5]} are "
                             "not those of its result")
                said = "".join(tokens[i][1] for i in sorted(tokens))
                # Half a character at the end is told with the result alone.
                rest = e["text"][len(said):].strip("\ufffd")
                if len(tokens) == len(e["ids"]) and \
                        (rest or not e["text"].startswith(said)):
                    self.bad("token", f"job {job}: the text that was told is "
                             "not its result's")

    def longest_write(self, interval, layers):
        """The segments that ran while a checkpoint was written, in any of this
        history: those beyond its own and the layers when it first was
        durable.  Never more than an interval: reading waits when the last
        durable one is two intervals behind."""
        most = 0
        for told in self.standing.values():
            last = 0
            for e in told:
                if e["checkpoint"] > last:
                    most = max(most, e["segments"] - e["checkpoint"] - layers)
                last = e["checkpoint"]
        return min(most, interval) if most else interval

    def check_readings(self):
        """P3: when a reading goes on after an interruption, it is where its
        last checkpoint was: at most an interval ago, and the `layers` that
        this one took to come together, and what ran while it was written.
        Damaged ones are nobody's doing here.  Each step back is seen too
        short, if anything: what is told comes now and then."""
        said = self.only["reading"]
        if not said:
            if self.progress:
                self.bad("reading", "nobody wrote down what an interval is")
            return
        interval, layers = said[-1]["interval"], said[-1]["layers"]
        most = interval + layers + self.longest_write(interval, layers)
        for job, told in self.progress.items():
            before = 0
            for t, segments in told:
                if before - segments > most:
                    self.bad("redone", f"job {job}: at {t:.1f} s it was at "
                             f"segment {segments} after {before}, and may "
                             f"redo {most}")
                before = segments
        self.check_checkpoints()

    def check_checkpoints(self):
        """What was durable is never read again."""
        for job, told in self.standing.items():
            durable = 0
            for e in told:
                if min(e["segments"], e["checkpoint"]) < durable:
                    self.bad("redone", f"job {job}: at {e['t']:.1f} s it was "
                             f"at segment {e['segments']}, its checkpoint at "
                             f"{e['checkpoint']}, after one at {durable}")
                durable = max(durable, e["checkpoint"])

    def check_answers(self):
        """As if nothing had happened."""
        sizes = self.only["text"]
        tokens = {e["text"]: e["tokens"] for e in sizes}
        for e in (e for ends in self.ends.values() for e in ends):
            asked = self.submits[e["op"]]
            if e["e"] != "done":
                continue
            if asked["kind"] == "add":
                expected, got = tokens[asked["text"]], e["tokens"]
            else:
                expected = self.reference[(asked["text"], asked["question"],
                                           asked["seed"], asked["length"])]
                got = e["ids"]
            if expected != got:
                self.bad("answer", f"job {e['job']} (op {e['op']}, "
                         f"{e['via']}): {got} instead of {expected}")

    def check_failures(self):
        """Only what a promise allows to fail does."""
        for job, ends in self.ends.items():
            accepted = min((jobs[job]["t"] for jobs in self.jobs.values()
                            if job in jobs), default=0)
            for e in ends[:1]:
                if e["e"] == "done":
                    continue
                kills = sum(accepted <= t <= e["t"] for t in self.kills)
                if e["code"] != "poison" or kills < STRIKES:
                    self.bad("failed", f"job {job} failed with {e['code']} "
                             f"after {kills} kills: {e['text']}")
        for op, refusals in self.refused.items():
            for e in refusals:
                if e["code"] not in TRANSIENT:
                    self.bad("refused", f"op {op}: {e['code']}: {e['text']}")

    def check_audit(self):
        """The audit came to its end, and the daemon knows of no other job."""
        if not self.only["audit_ends"] or not self.only["jobs"]:
            self.bad("audit", "there is no complete audit")
            return
        for op in self.only["audit_ends"][-1]["left"]:
            self.bad("unended", f"op {op}: no end within the audit")
        known = {job for jobs in self.jobs.values() for job in jobs}
        listed = {j["job"]: j for j in self.only["jobs"][-1]["jobs"]}
        if len(listed) < LISTED:
            for job in sorted(known - set(listed)):
                self.bad("lost", f"job {job} is in no list")
        for job in sorted(set(listed) - known):
            self.bad("stranger", f"job {job} is of no key that was "
                     "acknowledged")
        for job, j in listed.items():
            if j["state"] not in (DONE, FAILED, CANCELED):
                self.bad("unended", f"job {job} is in state {j['state']}")

    def check_left(self):
        for e in self.only["left"]:
            if not e["ended"] or e["code"] != 0:
                self.bad("left", f"the daemon's own end: {e['code']}")
            for name in e["left"]:
                self.bad("left", f"left behind: {name}")

    def check(self):
        self.check_jobs()
        self.check_ends()
        self.check_tokens()
        self.check_readings()
        self.check_answers()
        self.check_failures()
        self.check_audit()
        self.check_left()
        return self.found

    def summary(self):
        ends = [e for ends in self.ends.values() for e in ends[:1]]
        return {
            "events": len(self.events),
            "kills": len(self.kills),
            "submissions": sum(e["e"] == "submit" for e in self.events),
            "keys": len({e["key"] for e in self.submits.values()
                         if e["via"] != "abuse"}),
            "jobs": sum(map(len, self.jobs.values())),
            "done": sum(e["e"] == "done" for e in ends),
            "failed": sum(e["e"] == "refused" for e in ends),
            "results_heard": sum(map(len, self.ends.values())),
            "tokens_heard": sum(map(len, self.tokens.values())),
            "steps_back": sum(b[1] < a[1] for told in self.progress.values()
                              for a, b in zip(told, told[1:])),
            "violations": len(self.found)}


def report(checker, most=10):
    """Prints what was found, of each rule not more than some."""
    said = collections.Counter()
    for rule, text in checker.check():
        said[rule] += 1
        if said[rule] <= most:
            print(f"{rule}: {text}")
    for rule, n in said.items():
        if n > most:
            print(f"{rule}: {n - most} more")
    print(json.dumps(checker.summary()))


def main():
    try:
        checker = Checker(history.read(sys.argv[1:]))
    except OSError as e:
        print(f"check.py: {e.filename}: {e.strerror}", file=sys.stderr)
        return 2
    report(checker)
    return 1 if checker.found else 0


if __name__ == "__main__":
    sys.exit(main())
