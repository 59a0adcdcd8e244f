// Moves the line over the token bars with the video that plays above them, at each frame that is shown.
const place = (video) => {
  const line = element.querySelector(".playhead");
  if (line) {
    const { left, right, seconds } = line.dataset;
    const share = Math.min(1, video.currentTime / Number(seconds));
    const x = Number(left) + share * (Number(right) - Number(left));
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  }
};
const follow = (video) => {
  place(video);
  video.requestVideoFrameCallback(() => follow(video));
};
const followed = new WeakSet();
// What happens to a video does not rise to the page, but comes past it on its way down. The video may be a new element.
document.addEventListener("loadeddata", ({ target: video }) => {
  if (video.matches("#comparison video") && !followed.has(video)) {
    followed.add(video);
    follow(video);
  }
}, true);
