# SPDX-License-Identifier: Apache-2.0
"""Clients that never give up, and write down what they saw.

usage: client.py ENDPOINT HISTORY SEED CLIENTS

Each adds documents and asks those that are there, one thing after the other,
each under a key of its own.  When the connection goes, or nothing is heard,
it comes back and either submits the same again or watches the job.  Some walk
away from a job as soon as it is acknowledged, some submit a key once more,
some submit other content under a key that is taken.  A line on stdin ends
that: every key is submitted once more and every job watched, and what comes
is written down as the `audit`."""
import random
import sys
import threading
import time

import content
import history
from session import CHUNK, Session, add_request, ask_request, put

PATIENCE = 4  # seconds of silence after which one connects anew
AUDIT = 240  # seconds in which all that was acknowledged has to end
WINDOW = 64  # keys at once in the audit
RUNNING = 2  # JobState
LOOK = 0.1  # seconds between looks at what is being read


class Op:
    """One thing that a client wants, under one key."""

    def __init__(self, number, kind, **what):
        self.number, self.kind, self.what = number, kind, what
        self.key = what.pop("key", None) or f"key-{number}"
        self.job = 0
        self.ended = self.failed = False

    def request(self):
        if self.kind == "add":
            return add_request(self.what["name"],
                               content.text_of(self.what["text"]), self.key)
        question = content.QUESTIONS[self.what["question"]].encode()
        return ask_request(self.what["document"], question, self.key,
                           content.sampling(self.what["seed"],
                                            self.what["length"]))


class Run:
    """What the threads share."""

    def __init__(self, endpoint, path, seed):
        self.endpoint, self.seed = endpoint, seed
        self.log = history.Writer(path)
        self.lock = threading.Lock()
        self.ops = []
        self.documents = []  # (name, text's number) of those that were read
        self.over = threading.Event()

    def new(self, kind, **what):
        with self.lock:
            op = Op(len(self.ops), kind, **what)
            self.ops.append(op)
            return op


class Conversation:
    """One request about an op on one connection, written down."""

    def __init__(self, run, session, op, via):
        self.run, self.session, self.op, self.via = run, session, op, via
        self.sent = 0
        self.over = False
        if via == "watch":
            self.request = session.ask_for("watch", put("Watch", job=op.job))
            return
        run.log.write("submit", op=op.number, kind=op.kind, key=op.key,
                      via=via, **op.what)
        self.request = session.ask_for(*op.request())

    def _upload(self, credit):
        data = content.text_of(self.op.what["text"])
        credit = min(credit, len(data))
        while self.sent < credit:
            piece = data[self.sent:min(self.sent + CHUNK, credit)]
            self.session.ask_for_more(self.request, self.sent, piece)
            self.sent += len(piece)

    def hear(self, body, m):
        """Writes a reply to this request down; `over` once it is the last."""
        op, log = self.op, self.run.log
        about = {"op": op.number, "via": self.via}
        if body == "more_input":
            self._upload(m["input_credit"])
        elif body == "accepted":
            log.write("accepted", job=m["job"], epoch=m["epoch"], **about)
            op.job = m["job"]
        elif body == "token":
            log.write("token", job=m["job"], index=m["index"], id=m["id"],
                      text=m["text"], **about)
        elif body == "progress":
            if op.kind == "add" and m["state"] == RUNNING:
                log.write("progress", job=m["job"],
                          segments=m["segments_done"], **about)
        elif body == "done":
            log.write("done", job=m["job"], ids=m["generated_ids"],
                      text=m["text"], tokens=m["tokens"],
                      document=m["document"], segments=m["segments"],
                      finish=m["finish"], **about)
            self.over = op.ended = True
        elif body == "refused":
            log.write("refused", job=m["job"], code=m["code"],
                      text=m["text"], retry=m["retry_after_s"], **about)
            op.ended |= m["job"] != 0 and m["job"] == op.job
            op.failed |= op.ended
            self.over = True
        return body


class Client(threading.Thread):
    def __init__(self, run, number):
        super().__init__(daemon=True)
        self.shared = run
        self.chance = random.Random(f"{run.seed}:{number}")
        self.name_ = f"c{number}"
        self.n_document = 0
        self.session = None

    def run(self):
        while not self.shared.over.is_set():
            self.act()
        if self.session:
            self.session.close()

    # ------------------------------------------------------------ what to do
    def choose(self):
        """(op, how it is submitted)"""
        chance, shared = self.chance, self.shared
        what = chance.random()
        with shared.lock:
            documents = list(shared.documents)
            accepted = [op for op in shared.ops if op.job]
            old = chance.choice(accepted) if accepted else None
        if old and what < 0.06:
            return old, "again"
        if old and what < 0.10:
            # Under a key of somebody else, what is not his.
            return shared.new("add", key=old.key, text=0,
                              name=f"forged-{old.number}"), "abuse"
        if not documents or what < 0.35:
            self.n_document += 1
            n = chance.choices(range(len(content.SIZES)),
                               (6, 4, 3, 2, 1))[0]
            return shared.new("add", text=n, name=f"{self.name_}-"
                              f"{self.n_document}"), "submit"
        name, n = chance.choice(documents)
        seed, length = chance.choice(list(content.LENGTHS.items()))
        return shared.new(
            "ask", document=name, text=n, seed=seed, length=length,
            question=chance.randrange(len(content.QUESTIONS))), "submit"

    def act(self):
        op, via = self.choose()
        walk_away = self.chance.random() < 0.15
        while not self.shared.over.is_set():
            try:
                end = self.once(op, via, walk_away)
            except OSError:
                self.session = None
                time.sleep(self.chance.uniform(0.05, 0.4))
            else:
                if end or via == "abuse":
                    break
                time.sleep(0.2)
            # From here on the two ways of coming back.
            if via != "abuse":
                via = "watch" if op.job and self.chance.random() < 0.5 \
                    else "again"
        if op.ended and not op.failed and op.kind == "add":
            with self.shared.lock:
                entry = (op.what["name"], op.what["text"])
                if entry not in self.shared.documents:
                    self.shared.documents.append(entry)

    def once(self, op, via, walk_away):
        """Whether the op needs this client no more."""
        if not self.session:
            self.session = Session(self.shared.endpoint)
        talk = Conversation(self.shared, self.session, op, via)
        while not self.shared.over.is_set():
            got = self.session.next(PATIENCE)
            if got is None:  # silence: it may be gone without a word
                self.session.close()
                raise ConnectionError("silence")
            if got[0] != talk.request:
                continue
            body = talk.hear(got[1], got[2])
            if body == "accepted" and walk_away:
                return True
            if talk.over:
                return op.ended
            if self.chance.random() < 0.002:
                self.session.close()
                raise ConnectionError("on a whim")
        return False


class Onlooker(threading.Thread):
    """Asks now and then how far each reading is, and what of it is durable:
    both at the same moment, which progress alone does not tell."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.shared = run

    def look(self, session):
        request = session.ask_for("jobs")
        found = session.wait_for(request, ("job_list",), PATIENCE)
        if found is None:
            raise ConnectionError("silence")
        for j in found["job"]:
            if j["kind"] == "add" and j["state"] == RUNNING:
                self.shared.log.write(
                    "standing", job=j["job"], segments=j["segments_done"],
                    checkpoint=j["checkpoint_segments"])

    def run(self):
        session = None
        while not self.shared.over.is_set():
            try:
                session = session or Session(self.shared.endpoint)
                self.look(session)
            except OSError:
                session = None
            time.sleep(LOOK)
        if session:
            session.close()


# ------------------------------------------------------------------- the audit
def audit_round(run, session, ops, via, end):
    """Has a conversation about each op; those that did not come to an end."""
    waiting = list(reversed(ops))
    open_ = {}
    while (waiting or open_) and time.monotonic() < end:
        while waiting and len(open_) < WINDOW:
            talk = Conversation(run, session, waiting.pop(), via)
            open_[talk.request] = talk
        got = session.next(1)
        talk = got and open_.get(got[0])
        if talk:
            talk.hear(got[1], got[2])
            if talk.over:
                del open_[got[0]]
    return [t.op for t in open_.values()] + waiting


def audit(run):
    """Nobody is killed any more: every key again, every job watched, and the
    list of jobs."""
    end = time.monotonic() + AUDIT
    owners = {}
    for op in run.ops:
        owners.setdefault(op.key, op)  # who used a key first
    ops = list(owners.values())
    session = Session(run.endpoint)
    run.log.write("audit_begins", ops=len(ops))
    left = audit_round(run, session, ops, "audit", end)
    left += audit_round(run, session, [op for op in ops if op.job], "watch",
                        end)
    request = session.ask_for("jobs")
    jobs = session.wait_for(request, ("job_list",), 20)
    if jobs is None:
        run.log.write("no_job_list")
    else:
        run.log.write("jobs", jobs=[
            {k: j[k] for k in ("job", "kind", "document", "state", "code")}
            for j in jobs["job"]])
    run.log.write("audit_ends", left=[op.number for op in left])


def main():
    endpoint, path, seed, clients = sys.argv[1:]
    run = Run(endpoint, path, seed)
    threads = [Client(run, n) for n in range(int(clients))]
    threads.append(Onlooker(run))
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    run.over.set()
    for thread in threads:
        thread.join(PATIENCE + 20)
    audit(run)
    run.log.close()


if __name__ == "__main__":
    main()
