(expected, width) => {
  const complaints = [];
  const complain = text => complaints.length < 20 && complaints.push(text);
  const all = selector => [...document.querySelectorAll(selector)];
  const fits = document.scrollingElement.scrollWidth;
  if (fits > width) complain(`${fits} wide in a window of ${width}`);

  // Every function and every group once, each function in the frame of its group.
  const lines = all('.wiring > .line');
  const framed = new Map();
  let current = null;
  for (const line of lines) {
    const frame = line.querySelector('.frame');
    const tag = line.querySelector('.what > .group');
    if (frame.classList.contains('first')) current = tag && (tag.textContent.match(/^group (\d+)/) || [null, null])[1];
    for (const code of line.querySelectorAll('code[id]')) {
      const own = code.parentElement.querySelector('span[id^="group-"]');
      const group = code.closest('.alike') && own ? own.textContent.replace('group ', '') : current;
      if (framed.has(code.id)) complain(`${code.id} is there twice`);
      framed.set(code.id, group === null ? null : Number(group));
    }
    if (!line.querySelector('i')) complain('a line without a wire');
  }
  for (const [address, group] of expected) {
    if (!framed.has(address)) complain(`${address} is missing`);
    else if (framed.get(address) !== group) complain(`${address} is drawn in group ${framed.get(address)} instead of ${group}`);
  }
  if (framed.size !== expected.length) complain(`${framed.size} functions instead of ${expected.length}`);
  const groups = new Set(expected.map(pair => pair[1]).filter(group => group !== null));
  const named = all('[id^="group-"]').map(element => element.id);
  if (new Set(named).size !== named.length) complain('a group is named twice');
  for (const group of groups) if (!named.includes(`group-${group}`)) complain(`group ${group} is missing`);
  if (named.length !== groups.size) complain(`${named.length} groups instead of ${groups.size}`);

  // Frames are closed boxes: their lines touch, and text stays inside.
  lines.forEach((line, at) => {
    const frame = line.querySelector('.frame'), next = lines[at + 1];
    const box = frame.getBoundingClientRect();
    if (!frame.classList.contains('last') && next) {
      const gap = Math.abs(next.querySelector('.frame').getBoundingClientRect().top - box.bottom);
      if (gap > 1) complain(`a frame is torn by ${gap} px`);
    }
    for (const part of frame.querySelectorAll('.what, .what *')) {
      const rect = part.getBoundingClientRect();
      if (rect.width && !part.closest('.unseen') && (rect.right > box.right + 1 || rect.left < box.left - 1)) complain(`text leaves its frame: ${part.textContent.slice(0, 60)}`);
    }
  });

  // Contrast of every text with what is behind it (WCAG 2.2, 1.4.3).
  const numbers = text => text.match(/[\d.]+/g).map(Number);
  const luminance = colour => {
    const [r, g, b] = numbers(colour).slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (numbers(colour)[3] !== 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const judged = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest('.unseen')) continue;
    const pair = [getComputedStyle(element).color, behind(element)];
    const key = pair.join();
    if (judged.has(key)) continue;
    const [a, b] = pair.map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    judged.set(key, ratio);
    if (ratio < 4.5) complain(`contrast ${ratio.toFixed(2)}: ${key}: ${element.textContent.slice(0, 40)}`);
  }
  if (judged.size < 3) complain('hardly any text was judged');

  // Nothing that runs, loads or leads elsewhere.
  const strange = all('script,img,link,iframe,object,embed,form,input,svg,base,video,audio,source,[style]');
  for (const element of strange) complain(`a ${element.tagName} is on the page`);
  for (const element of all('*')) for (const { name } of element.attributes) if (/^on/i.test(name)) complain(`${element.tagName} has ${name}`);
  for (const link of all('a')) {
    const target = link.getAttribute('href');
    if (!target.startsWith('#') || !document.getElementById(target.slice(1))) complain(`${target} leads nowhere on the page`);
  }
  const policy = document.querySelector('meta[http-equiv="Content-Security-Policy"]');
  if (!policy || !policy.content.startsWith("default-src 'none'; style-src 'unsafe-inline'")) complain('no policy');

  // The outline that is read aloud.
  const levels = all('h1,h2,h3').map(heading => Number(heading.tagName[1]));
  if (levels.filter(level => level === 1).length !== 1 || levels[0] !== 1) complain('not one first heading');
  levels.forEach((level, at) => { if (at && level > levels[at - 1] + 1) complain('a level of headings is left out'); });
  for (const landmark of ['header', 'nav', 'main', 'footer']) if (all(landmark).length !== 1) complain(`not one ${landmark}`);
  if (!document.documentElement.lang || !document.title) complain('no language or no title');
  const order = ['h1', '#findings', '#wiring', '#next'].map(selector => document.querySelector(selector));
  order.forEach((part, at) => { if (!part || (at && !(order[at - 1].compareDocumentPosition(part) & 4))) complain('not from verdict to next command'); });
  return complaints;
}
