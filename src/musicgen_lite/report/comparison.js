{
  // The blind test. Votes are kept by trial: a side (0 or 1), "" for no preference, undefined where there is none yet.
  const { labels, seed, trials } = JSON.parse(document.getElementById("trials").textContent);
  const box = document.getElementById("blind");
  const one = (selector) => box.querySelector(selector);
  const sides = [...box.querySelectorAll("[data-side]")];
  const buttons = [...box.querySelectorAll("[data-vote]")];
  const votes = [];
  const played = new Set();
  let at = 0;

  const show = (step) => {
    for (const part of box.querySelectorAll("[data-step]")) part.hidden = part.dataset.step !== step;
    for (const player of document.querySelectorAll("audio")) player.pause();
    const { top } = box.getBoundingClientRect();
    if (step !== "start" && (top < 0 || top > innerHeight / 2)) box.scrollIntoView();
  };
  const ready = () => {
    const both = played.size === 2 || votes[at] !== undefined;
    for (const button of buttons) button.disabled = !both;
    one("[data-hint]").textContent = both ? "" : "Play both clips first.";
  };
  const open = () => {
    const trial = trials[at];
    show("trial");
    played.clear();
    one("[data-progress]").textContent = `trial ${at + 1} of ${trials.length}`;
    one("[data-caption]").textContent = trial.caption;
    sides.forEach((player, side) => { player.src = document.getElementById(trial.clips[side]).src; });
    for (const button of buttons) button.setAttribute("aria-pressed", String(votes[at]) === button.dataset.vote);
    one('[data-do="back"]').disabled = at === 0;
    ready();
    one("[data-caption]").focus({ preventScroll: true });
  };

  // What a vote says, by the names of the runs.
  const voted = () => trials.map((trial, number) => ({ trial, number, vote: votes[number] })).filter(({ vote }) => vote !== undefined);
  const named = (trial, side) => labels[trial.runs[side]];
  const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const csv = () => [
    "trial,prompt,first,second,preferred,seed",
    ...voted().map(({ trial, number, vote }) =>
      [number + 1, trial.prompt, named(trial, 0), named(trial, 1), vote === "" ? "" : named(trial, vote), seed].map(quoted).join(",")),
  ].join("\r\n") + "\r\n";

  const end = () => {
    show("end");
    const rows = one("[data-rows]");
    rows.replaceChildren();
    const sums = new Map(labels.map((label) => [label, 0]));
    let none = 0;
    for (const { trial, vote } of voted()) {
      const row = rows.insertRow();
      const preferred = vote === "" ? "no preference" : named(trial, vote);
      [trial.caption, named(trial, 0), named(trial, 1), preferred].forEach((text) => { row.insertCell().textContent = text; });
      if (vote === "") none += 1;
      else sums.set(preferred, sums.get(preferred) + 1);
    }
    const parts = [...sums].map(([label, count]) => `${label} ${count}`);
    one("[data-sum]").textContent = rows.rows.length ? `Preferred: ${parts.join(", ")}; no preference ${none}.` : "No votes yet.";
    const save = one("[data-save]");
    save.hidden = !rows.rows.length;
    save.href = `data:text/csv;charset=utf-8,${encodeURIComponent(csv())}`;
    one("[data-end]").focus({ preventScroll: true });
  };
  const next = () => {
    at += 1;
    if (at < trials.length) open();
    else end();
  };
  const vote = (value) => {
    votes[at] = value;
    next();
  };

  sides.forEach((player, side) => {
    player.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
    });
    // A second of a clip, or all of a shorter one, is the least that a vote may rest on.
    player.addEventListener("timeupdate", () => {
      if (player.currentTime >= Math.min(1, player.duration * 0.9)) { played.add(side); ready(); }
    });
  });
  for (const button of buttons) {
    button.addEventListener("click", () => vote(button.dataset.vote === "" ? "" : Number(button.dataset.vote)));
  }
  const back = () => {
    const ended = !one('[data-step="end"]').hidden;
    at = ended ? Math.min(at, trials.length - 1) : Math.max(0, at - 1);
    open();
  };
  const acts = { start: open, end, back };
  for (const button of box.querySelectorAll("[data-do]")) button.addEventListener("click", acts[button.dataset.do]);

  // Keys work while the focus is in a trial; in a player the arrows stay its own.
  const keys = { ArrowLeft: 0, ArrowDown: 1, ArrowRight: 2 };
  one('[data-step="trial"]').addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const player = sides[Number(event.key) - 1];
    if (player) {
      if (player.paused) player.play().catch(() => {});
      else player.pause();
    } else if (event.key in keys && event.target.tagName !== "AUDIO" && !buttons[0].disabled) {
      buttons[keys[event.key]].click();
    } else return;
    event.preventDefault();
  });

  one("[data-count]").textContent = trials.length === 1 ? "One trial." : `${trials.length} trials; you may end at any of them.`;
  one("[data-seed]").textContent = seed;
  box.hidden = !trials.length;
  document.querySelector("[data-none]").hidden = trials.length > 0;
}
