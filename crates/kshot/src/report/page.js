(() => {
  const list = document.getElementById("gallery");
  const cards = list ? [...list.children] : [];
  const filter = document.getElementById("filter"), order = document.getElementById("order");
  const count = document.getElementById("count");
  const name = (card) => card.dataset.n;
  const compare = {
    name: (a, b) => name(a).localeCompare(name(b), undefined, { numeric: true }),
    unsure: (a, b) => a.dataset.c - b.dataset.c || compare.name(a, b),
    sure: (a, b) => b.dataset.c - a.dataset.c || compare.name(a, b),
  };
  const area = (card, at) => Number((card.dataset.a || "").split(",")[at] || 0);
  const sort = () => {
    const at = Number(order.value);
    const by = compare[order.value] || ((a, b) => area(b, at) - area(a, at) || compare.name(a, b));
    list.append(...cards.sort(by));
  };
  const search = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const text = (name(card) + " " + (card.dataset.f || "")).toLowerCase();
      card.hidden = !words.every((word) => text.includes(word));
      shown += !card.hidden;
    }
    count.textContent = shown === cards.length ? `${shown} pictures` : `${shown} of ${cards.length} pictures`;
  };
  if (list) {
    document.getElementById("controls").hidden = false;
    order.addEventListener("change", sort);
    filter.addEventListener("input", search);
    search();
  }
  // A click opens the overlay here; with a modifier key, or without this script, it is a plain link.
  const dialog = document.getElementById("viewer");
  if (!dialog || !dialog.showModal) return;
  const [photo, image] = dialog.querySelectorAll("img"), title = dialog.querySelector("span");
  let links = [], at = 0;
  // A link leads to a picture; a button holds it.
  const source = (view) => view.href || view.querySelector("img").src;
  const show = (next) => {
    at = (next + links.length) % links.length;
    image.src = source(links[at]);
    image.alt = title.textContent = links[at].dataset.title;
    // The picture itself beside it, where it is where it was and the browser reads its format.
    photo.hidden = true;
    photo.src = links[at].dataset.photo || "";
  };
  photo.addEventListener("load", () => { photo.hidden = false; });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.view[href], button.view");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    const of = "li:not([hidden]) ";
    links = [...link.closest("ul").querySelectorAll(`${of}a.view[href], ${of}button.view`)];
    show(links.indexOf(link));
    dialog.showModal();
  });
  const [back, forth, close] = dialog.querySelectorAll("button");
  back.addEventListener("click", () => show(at - 1));
  forth.addEventListener("click", () => show(at + 1));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(at - 1);
    if (event.key === "ArrowRight") show(at + 1);
  });
})();
