"use strict";
const players = [...document.querySelectorAll(".spectrogram ~ audio")];
for (const player of players) {
  const picture = player.closest("figure").querySelector(".spectrogram");
  const seconds = Number(picture.dataset.seconds);
  let sounding = false;
  // A start that a seek or the next click interrupts is no fault.
  const start = () => player.play().catch(() => {});

  const follow = () => {
    picture.style.setProperty("--at", Math.min(1, player.currentTime / seconds));
    picture.classList.toggle("started", player.currentTime > 0);
    if (!player.paused && !player.ended) requestAnimationFrame(follow);
  };
  player.addEventListener("play", () => {
    sounding = true;
    for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
    follow();
  });
  player.addEventListener("pause", () => {
    if (!player.error) sounding = false;
  });
  player.addEventListener("seeked", follow);

  // Chromium cannot seek to some places of a short FLAC file and gives the player up: load it again, start a bit earlier.
  player.addEventListener("error", () => {
    const earlier = player.currentTime - 0.2;
    if (earlier < 0) return;
    const again = sounding;
    player.load();
    player.currentTime = earlier;
    if (again) start();
  });

  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    const margins = getComputedStyle(document.body);
    const left = Number(margins.getPropertyValue("--left"));
    const right = Number(margins.getPropertyValue("--right"));
    const at = ((event.clientX - box.left) / box.width - left) / (1 - left - right);
    player.currentTime = Math.max(0, Math.min(1, at)) * seconds;
    start();
  });
}
