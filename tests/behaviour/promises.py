"""What users are promised, one line each, in the words the docs use.

Every promise is shown by at least one test that cites it, and every behaviour test cites a promise:
`@pytest.mark.promise("state.cas")`. `test_promises.py` holds both.
"""

from __future__ import annotations

from typing import NamedTuple


class Promise(NamedTuple):
    sentence: str
    source: str  # where the docs say it


DESIGN_1, STATE, RUNS, AUDIT, ACCESS, API = "promises", "state", "runs and steps", "audit", "access", "the Python API"
HANDOFFS = "handoffs"
POLICIES = "policies"
ESCALATIONS = "escalations"
GUARDS = "guards"
LEDGER = "ledger"
REPORTS = "reports"
WORKFLOWS = "workflows"

PROMISES = {
    "article.state": Promise("The article's state calls run as written.", API),
    "state.get": Promise("`state.get` alone behaves as `dict.get`; `state.entry` raises NotFound.", API),
    "state.entry": Promise("An entry has version, author, run, written_at, expires_at, origin and trust.", STATE),
    "state.versions": Promise("Versions never restart, not after delete or expiry either.", STATE),
    "state.cas": Promise("`if_version` writes only over that version; 0 means absent.", STATE),
    "state.ttl": Promise("After its time to live an entry reads as absent, at once.", STATE),
    "state.history": Promise("All kept versions can be read, deletions included.", STATE),
    "state.as_of": Promise("A value can be read by version or as of a revision.", STATE),
    "state.diff": Promise("A diff tells what became of each key between two revisions.", STATE),
    "state.list": Promise("Lists go by prefix, in key order, in pages that walk on.", STATE),
    "state.cursor": Promise("Cursors are versioned and bound to their filter.", STATE),
    "state.search": Promise("Full-text search follows writes, over keys and values.", STATE),
    "state.watch": Promise("Watches have no gaps.", STATE),
    "state.gone": Promise("A revision that is not there any more, or not yet, is answered with RevisionGone.", STATE),
    "state.transaction": Promise("A transaction is one commit or none; results come afterwards.", STATE),
    "state.large": Promise("No small ceiling: 64 MiB by default, then LimitExceeded.", STATE),
    "state.origin": Promise("Trust follows from origin, and an agent cannot write as a human.", STATE),
    "state.revision": Promise("`revision` is dense per workspace, assigned in the commit.", STATE),
    "state.exact": Promise("Values keep exactly what JSON can say; the rest is refused with its path.", STATE),
    "state.model": Promise("Whatever happens in whatever order, state, runs and steps stay consistent.", DESIGN_1),
    "input.refused": Promise("A malformed call is refused with InvalidInput and writes nothing.", API),
    "run.key": Promise("A run is created under its key and completed by a normal exit.", RUNS),
    "run.replay": Promise("A completed run replays its stored results.", RUNS),
    "run.continue": Promise("Kill your agent, start it again, it continues.", DESIGN_1),
    "run.inputs": Promise("Other inputs under a key are refused with both shown.", RUNS),
    "run.held": Promise("A run held by a live worker raises RunHeld, naming it.", RUNS),
    "run.takeover": Promise("On one machine takeover from the dead is at once.", RUNS),
    "run.lease": Promise("Else takeover is when the lease ends; clock changes move no lease.", RUNS),
    "run.epoch": Promise("Each claim raises an epoch, every write carries it, a stale one is refused.", DESIGN_1),
    "run.attempts": Promise("An exception returns the run until `max_attempts`; `run.fail` fails at once.", RUNS),
    "run.cancel": Promise("A cancelled run is told at its next call, and its children are cancelled.", RUNS),
    "run.tombstone": Promise("A pruned run leaves a tombstone, so its key is never silently reused.", RUNS),
    "run.notes": Promise("Decisions, findings and failed approaches are kept once.", RUNS),
    "run.progress": Promise("Progress is seen by others while the run works.", API),
    "run.fork": Promise("A rewind is a fork.", RUNS),
    "run.list": Promise("Runs are listed newest first, by name, state, agent and parent.", API),
    "run.takeovers": Promise("Three takeovers without a new finished step escalate.", RUNS),
    "run.stop": Promise("A clean end releases what is held at once.", RUNS),
    "run.overdue": Promise("Nothing waits unseen: after its deadline somebody is told.", DESIGN_1),
    "run.budget": Promise("Passing a budget pauses and asks; plain steps may overshoot by one step.", RUNS),
    "handle.prefix": Promise("A unique prefix of at least 6 characters is accepted.", "words"),
    "explain": Promise("`explain`: why it is not moving, since when, who holds it, what will move it.", RUNS),
    "step.once": Promise("A finished step comes from the store; its function does not run again.", RUNS),
    "step.decorator": Promise("`@run.step(name)` is the same as a decorator.", API),
    "step.async": Promise("A sync connection refuses an async step function, naming connect_async.", RUNS),
    "step.typed": Promise("First run and replay both return the value decoded into its type.", RUNS),
    "step.unstorable": Promise("A result that cannot be stored is refused with its path.", RUNS),
    "step.mismatch": Promise("On other inputs none/read effects rerun, others ask; a policy may say else.", RUNS),
    "step.effect": Promise("A write's `started` row is durable before its function runs.", RUNS),
    "step.doubt": Promise("What may or may not have happened is in doubt and never silently repeated.", DESIGN_1),
    "step.retry": Promise("Retries with backoff; the irreversible is never retried by itself.", RUNS),
    "step.timeout": Promise("A step that passes its timeout raises TimedOut.", RUNS),
    "step.buffer": Promise("Writes inside a step are visible inside it and commit with its result.", RUNS),
    "step.context": Promise("Inside a step its context tells name, key, epoch and attempt.", RUNS),
    "step.ambient": Promise("Calls on the agent inside a step commit at once, under the run.", RUNS),
    "step.concurrent": Promise("Concurrent steps of one name need keys.", RUNS),
    "step.exactly_once": Promise("Inside the store everything happens exactly once.", DESIGN_1),
    "wait.sleep": Promise("Sleeps are durable and hold nothing.", RUNS),
    "wait.signal": Promise("A signal is kept until the run waits for it, and delivered once.", RUNS),
    "wait.child": Promise("A parent waits for a child holding nothing, and receives its result.", RUNS),
    "task.claim": Promise("Only registered code is taken over, by priority and age.", RUNS),
    "task.start": Promise("A task starts now or later, once per key.", API),
    "task.takeover": Promise("Registered runs of a dead worker are done by another.", RUNS),
    "task.attempts": Promise("A failing task is tried again until its attempts are spent.", RUNS),
    "task.cron": Promise("A cron schedule makes runs; missed times collapse into one.", RUNS),
    "article.handoff": Promise("The article's handoff calls run as written.", API),
    "handoff.package": Promise(
        "A handoff carries its whole package, and says whether its receiver is known.", HANDOFFS
    ),
    "handoff.key": Promise("Create is idempotent by key; the same key with another package is refused.", HANDOFFS),
    "handoff.claim": Promise("Claim is atomic: one holder, the others are told who.", HANDOFFS),
    "handoff.epoch": Promise("Each claim raises an epoch; a stale one is refused, saying who took over.", DESIGN_1),
    "handoff.lease": Promise("What a dead worker held is offered again, by its lock or when its lease ends.", HANDOFFS),
    "handoff.unattended": Promise("A caller without heartbeats holds a claim as long as it calls.", HANDOFFS),
    "handoff.complete": Promise(
        "Complete without a claim claims in the same transaction; again it does nothing.", HANDOFFS
    ),
    "handoff.accepted": Promise("Results are checked before `completed`; a refused one leaves the claim.", HANDOFFS),
    "handoff.verifier": Promise(
        "A named verifier decides; what it rejects is offered again with the reason.", HANDOFFS
    ),
    "handoff.attempts": Promise(
        "Attempts are counted and kept; the last failed one leaves it dead, with the work.", HANDOFFS
    ),
    "handoff.decline": Promise(
        "Declined work goes to others of its receiver, to the next one of its ladder, or back to its sender.", HANDOFFS
    ),
    "handoff.cancel": Promise("A cancelled handoff is told its holder at the next call.", HANDOFFS),
    "handoff.requeue": Promise("What ended without a result can be offered again.", HANDOFFS),
    "handoff.order": Promise("Claims go by priority, fair between senders, then by age.", HANDOFFS),
    "handoff.schedule": Promise("A handoff is offered from `not_before` on.", HANDOFFS),
    "handoff.pickup": Promise("Pickup is a ladder: others are asked in time, then somebody is told.", HANDOFFS),
    "handoff.clocks": Promise("Liveness and progress are two clocks; a missed deadline is told.", HANDOFFS),
    "handoff.notice": Promise("The sender hears of every end and escalation until it has received it.", HANDOFFS),
    "handoff.capability": Promise("Work for a capability or queue goes to whoever announced it.", HANDOFFS),
    "handoff.limit": Promise("A receiver's concurrency and rate are bounded.", HANDOFFS),
    "handoff.lineage": Promise("Work handed on keeps its lineage, budget and on-behalf-of chain.", HANDOFFS),
    "handoff.circle": Promise("Loops end: a circle or too many hops is kept as dead and told.", HANDOFFS),
    "handoff.reference": Promise("References are pinned with digests; a claim grants exactly these reads.", HANDOFFS),
    "handoff.transaction": Promise("Completing, writing state and finishing a step commit together.", HANDOFFS),
    "handoff.work": Promise("Workers claim, perform and complete; an error gives the work back.", HANDOFFS),
    "handoff.run": Promise(
        "Whoever takes over goes on from the run's checkpoints; a waiting run holds nothing.", HANDOFFS
    ),
    "handoff.sender_run": Promise("A run that handed over can wait for what came of it.", HANDOFFS),
    "handoff.list": Promise("Listing only reads; handoffs are found by state, receiver, sender and root.", API),
    "handoff.briefing": Promise("The briefing tells what is offered and what came of what was handed over.", HANDOFFS),
    "handoff.tombstone": Promise("A pruned handoff leaves a tombstone, so its key is never silently reused.", HANDOFFS),
    "person.only": Promise("An agent can never answer for a person.", DESIGN_1),
    "policy.person": Promise("Only people rule beforehand; agents may read what is ruled.", POLICIES),
    "policy.versions": Promise("A policy has versions, and each stays.", POLICIES),
    "policy.cas": Promise("A policy can be set only over the version that was read.", POLICIES),
    "policy.checked": Promise("A policy that does not fit is refused with its path and the next call.", POLICIES),
    "policy.named": Promise("What a policy names cannot be missing.", POLICIES),
    "policy.contact": Promise("Addresses of persons are shown to persons only.", POLICIES),
    "policy.silence": Promise("What is critical is silenced only by two persons.", POLICIES),
    "policy.calendar": Promise("A schedule takes its shifts from a calendar, and needs it no more.", POLICIES),
    "workflow.article": Promise("The article's call makes a workflow of plain text.", WORKFLOWS),
    "workflow.version": Promise("The same document is the same version, and each version stays.", WORKFLOWS),
    "workflow.named": Promise("A version is named by its hash, its number or its state.", WORKFLOWS),
    "workflow.checked": Promise("A document that does not fit is refused with its path and the next call.", WORKFLOWS),
    "workflow.move": Promise("Only a person moves a version to where no evidence is asked.", WORKFLOWS),
    "workflow.evidence": Promise("Nothing becomes active without evidence, and one version is active.", WORKFLOWS),
    "evidence.earned": Promise("A cheaper model does a step once executions have shown that it can.", WORKFLOWS),
    "evidence.lost": Promise("A drift, or another model that is served, takes a step from a model at once.", WORKFLOWS),
    "evidence.audit": Promise(
        "A share of what a cheaper model does is audited for ever, and never in its way.", WORKFLOWS
    ),
    "evidence.claims": Promise("What an agent says of itself promotes nothing.", WORKFLOWS),
    "evidence.person": Promise("People take a model off a step, bring it back, and judge what it did.", WORKFLOWS),
    "evidence.beside": Promise("A version in shadow is tried on the inputs of the active one.", WORKFLOWS),
    "evidence.explained": Promise("Which model does which step is told with its evidence.", WORKFLOWS),
    "workflow.search": Promise("Workflows are found by what is wanted, in any words of their triggers.", WORKFLOWS),
    "workflow.diff": Promise("A diff says part by part what changed, and which steps keep their evidence.", WORKFLOWS),
    "workflow.import": Promise(
        "What is brought in is untrusted and gains no tools; what goes out comes back.", WORKFLOWS
    ),
    "report.attention": Promise("What asking people cost is counted, by person, asker and question.", REPORTS),
    "report.window": Promise("A report counts its window and nothing outside of it.", REPORTS),
    "report.reflex": Promise("Who approves nearly everything, or faster than anybody reads, is named.", REPORTS),
    "report.often": Promise(
        "A question that is asked again and again is shown, with a rule where one would do.", REPORTS
    ),
    "oversight.lines": Promise(
        "Each requirement says how the plane is configured for it and what is missing.", REPORTS
    ),
    "oversight.part": Promise("What the oversight report calls the plane's part is kept.", REPORTS),
    "briefing.parts": Promise("The briefing tells goal, done, tried, decisions, budget and the next call.", RUNS),
    "briefing.short": Promise("A briefing has at most about 300 tokens.", RUNS),
    "briefing.fence": Promise("Text by other agents is fenced as data, with author and trust.", RUNS),
    "briefing.waits": Promise("The briefing tells what an unfinished run waits for.", RUNS),
    "trail.every_change": Promise("No change without an event, no event without a change.", DESIGN_1),
    "trail.reads": Promise("Reads leave no event.", AUDIT),
    "trail.dispatcher": Promise("The dispatcher refuses to commit a change that recorded no event.", AUDIT),
    "trail.event": Promise("Events hold commitments and claims, never payloads.", AUDIT),
    "trail.filter": Promise("Events are filtered by run, actor, type, namespace, time and text.", API),
    "trail.private": Promise("An event of a namespace you may not read is not there for you.", ACCESS),
    "trail.verify": Promise("An edited, removed or reordered event is detected.", AUDIT),
    "trail.follow": Promise("The trail can be followed as it grows.", API),
    "key.once": Promise("A key is shown once and kept as a keyed hash.", ACCESS),
    "key.ends": Promise("Keys expire and can be revoked.", ACCESS),
    "key.rotate": Promise("A rotated key overlaps with its successor.", ACCESS),
    "key.unknown": Promise("A wrong or altered key is refused.", ACCESS),
    "access.attenuate": Promise("Rights are only ever handed on, never made.", ACCESS),
    "access.filter": Promise("What you may not read is absent; missing and forbidden look the same.", STATE),
    "access.deny": Promise("Deny by default; denials are recorded, read denials aggregated.", ACCESS),
    "access.kill": Promise("The kill switch refuses every call of an actor and frees its work.", ACCESS),
    "access.whoami": Promise("A caller can ask who it is.", API),
    "article.escalate": Promise("The article's escalation runs as written.", API),
    "escalation.durable": Promise("A question pauses the run durably; its answer is there whoever resumes.", DESIGN_1),
    "escalation.delivery": Promise(
        "An answer that did not arrive is visible, retried, never asked again.", ESCALATIONS
    ),
    "escalation.replay": Promise("The same call finds the same question.", ESCALATIONS),
    "escalation.collapse": Promise(
        "One question, many who wait; approvals only for one action of one agent.", ESCALATIONS
    ),
    "escalation.persons": Promise("Agent credentials raise and withdraw, never acknowledge or answer.", ESCALATIONS),
    "escalation.one_decides": Promise("Of several answers one counts; the others are told who won.", ESCALATIONS),
    "escalation.answer": Promise("An answer fits its question, or is refused.", ESCALATIONS),
    "escalation.refused": Promise("What nobody could decide on is not asked.", ESCALATIONS),
    "escalation.bound": Promise("An approval is for exactly the action that was shown, and for a while.", ESCALATIONS),
    "escalation.quorum": Promise("Where several must agree, they agree on the same.", ESCALATIONS),
    "escalation.deadline": Promise(
        "Nobody answered is told as that, after two warnings; nothing is approved.", ESCALATIONS
    ),
    "escalation.hold": Promise("Who is on it holds it for a time and no longer.", ESCALATIONS),
    "escalation.route": Promise("The next people are told until somebody takes it.", ESCALATIONS),
    "escalation.policy": Promise("People rule the timers; what is open keeps its own.", ESCALATIONS),
    "escalation.withdraw": Promise("A question can be taken back, and is when nobody waits for it.", ESCALATIONS),
    "escalation.inhibition": Promise(
        "Of what follows from another question people are told when that is over.", ESCALATIONS
    ),
    "escalation.list": Promise("The inbox is sorted by urgency.", ESCALATIONS),
    "ledger.reserve": Promise("A reservation is the worst case; a settlement is exact, at the prices of then.", LEDGER),
    "ledger.once": Promise("What came of a call is written once, however often it is told.", LEDGER),
    "ledger.unknown": Promise("A price that is not known is never zero.", DESIGN_1),
    "ledger.served": Promise("A declared model is not a served one: the difference is told, and priced.", LEDGER),
    "ledger.source": Promise("Each cost says who says so.", LEDGER),
    "ledger.cap": Promise("What could pass a cap is refused before it is spent.", LEDGER),
    "ledger.run": Promise("A run pays for its model calls, and its budget bounds them beforehand.", LEDGER),
    "ledger.step": Promise("What a step recorded of its calls commits with its result.", RUNS),
    "ledger.lost": Promise("Usage that nobody tells counts at the worst case.", LEDGER),
    "ledger.own": Promise("Only who made a call, or holds its run, says what it used.", LEDGER),
    "ledger.otel": Promise("Usage is read from OpenTelemetry's GenAI attributes, and not counted twice.", LEDGER),
    "ledger.savings": Promise("No saving is claimed without its evidence and all of its overheads.", DESIGN_1),
    "ledger.list": Promise("Known, worst case and unpriced are never mixed in a sum.", LEDGER),
    "execution.steps": Promise("The steps of a document are done in its order, with what each was given.", WORKFLOWS),
    "execution.models": Promise("Without a model to ask, both ways out are named.", WORKFLOWS),
    "execution.ladder": Promise(
        "What fails is tried again, then done by the next rung, for this step only.", WORKFLOWS
    ),
    "execution.person": Promise("When nobody else is left, a person is asked; never a silent pass.", WORKFLOWS),
    "execution.caller": Promise("An agent may do the steps itself; each output is checked and kept.", WORKFLOWS),
    "execution.plane": Promise("What is left to the plane is done by any worker.", WORKFLOWS),
    "execution.edge_cases": Promise("An edge case that applies stops, or asks.", WORKFLOWS),
    "execution.resumed": Promise("A killed execution goes on; what was done is not done again.", WORKFLOWS),
    "execution.effect": Promise("An effect that may have happened is never silently repeated.", WORKFLOWS),
    "execution.ledger": Promise("Every call of a model is reserved before, and settled with the step.", WORKFLOWS),
    "execution.data": Promise(
        "Inputs, results and state are data: no instruction comes of them, and no step.", WORKFLOWS
    ),
    "execution.untrusted": Promise("A document from elsewhere has no tools until a person has moved it.", WORKFLOWS),
    "execution.counted": Promise("What became of executions is counted, by workflow and by model.", WORKFLOWS),
    "case.kept": Promise("A case is kept once, and only if it can show something.", WORKFLOWS),
    "case.own": Promise("No case is tried with its own answer in sight.", WORKFLOWS),
    "trial.cheapest": Promise("A trial begins with the cheapest, and ends where the answer is known.", WORKFLOWS),
    "trial.planned": Promise("How many cases decide is fixed before the first is tried.", WORKFLOWS),
    "trial.once": Promise("A trial goes on where it was stopped, and no case of it is paid twice.", WORKFLOWS),
    "trial.effects": Promise("In a trial nothing is written: what would be is compared.", WORKFLOWS),
    "repair.failures": Promise("Failures are seen in clusters, by step and check.", WORKFLOWS),
    "repair.edits": Promise("A repair is a draft of few edits; what it leaves alone keeps its evidence.", WORKFLOWS),
    "repair.regressions": Promise("What worked and fails now stands against a draft until it is mended.", WORKFLOWS),
    "repair.designer": Promise("A designer is told what does not fit, a few times, and no more.", WORKFLOWS),
    "repair.tools": Promise("No designer gives itself a tool, or takes a check away.", WORKFLOWS),
    "execution.checks": Promise("Hard checks decide; another model's opinion is a hint.", WORKFLOWS),
    "guard.rules": Promise("The first rule that matches decides; what no rule knows is asked.", GUARDS),
    "guard.recorded": Promise("Each decision is an event with the rule's version, and no arguments.", GUARDS),
    "guard.refused": Promise("A refusal says how to ask a person.", GUARDS),
    "guard.asked": Promise("An approval is used for exactly the call that was shown, or as it was edited.", GUARDS),
    "guard.durable": Promise("In a run the decision and the answer stay, whatever happens to the process.", GUARDS),
    "guard.decorator": Promise("A guarded function runs only as it was approved.", GUARDS),
    "guard.person": Promise("Only people make rules, and none of them for what cannot be undone by itself.", GUARDS),
    "guard.precedents": Promise("Past answers stand beside the question; equal ones may become a rule.", GUARDS),
    "guard.suspended": Promise("The first answer that says otherwise suspends a rule made of precedents.", GUARDS),
    "stuck.ladder": Promise("A run in circles is told so, then refused, then put before a person.", ESCALATIONS),
    "stuck.replay": Promise("What is told again after a restart is no repetition.", ESCALATIONS),
    "stuck.steps": Promise("A run may have its steps watched.", ESCALATIONS),
    "stuck.failures": Promise("The same failure in three runs is one question.", ESCALATIONS),
}
