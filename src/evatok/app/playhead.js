// Moves the line over the token bars with the video that plays above them.
const follow = () => {
  const video = document.querySelector("#comparison video");
  const line = element.querySelector(".playhead");
  if (video && line) {
    const { left, right, seconds } = line.dataset;
    const share = Math.min(1, video.currentTime / Number(seconds));
    const x = Number(left) + share * (Number(right) - Number(left));
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  }
  requestAnimationFrame(follow);
};
follow();
