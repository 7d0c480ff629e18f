// Somebody who uses no mouse, and somebody who only watches. Prints what was seen as JSON.
//   node dashboard_hands.cjs BASE_URL USERNAME PASSWORD API_KEY SCREENSHOT_FOLDER
const { run, text, shot } = require('./dashboard.cjs');

const [base, username, password, key, folder] = process.argv.slice(2);
const focus = (page) => page.evaluate(() => {
  const one = document.activeElement;
  return one.name || one.className || one.textContent.trim() || one.tagName;
});

// Presses Tab until the focus is there.
async function tabTo(page, wanted) {
  for (let n = 0; n < 60; n += 1) {
    await page.keyboard.press('Tab');
    if ((await focus(page)) === wanted) return;
  }
  throw new Error(`Tab never comes to ${wanted}`);
}

const enter = (page) => Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);

async function send(subject) {
  const body = { from: 'shop@example.com', to: 'ann@good.test', subject, text: 'Hello' };
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  const answer = await fetch(`${base}/v1/messages`, { method: 'POST', headers, body: JSON.stringify(body) });
  if (answer.status !== 202) throw new Error(await answer.text());
}

run(async (page) => {
  const seen = {};
  await page.goto(`${base}/dashboard/login`);
  await tabTo(page, 'username');
  await page.keyboard.type(username);
  await tabTo(page, 'password');
  await page.keyboard.type(password);
  await enter(page);
  seen.first = await text(page, 'h1');
  await page.keyboard.press('Tab');
  seen.skip = await focus(page);
  await page.keyboard.press('Enter');
  seen.skipped = await page.evaluate(() => window.location.hash);
  await send('By keyboard');
  await page.keyboard.press('/');
  seen.slash = await focus(page);
  await page.keyboard.type('ann@good.test');
  await enter(page);
  seen.found = await text(page, 'main');
  // In a field the key is a letter.
  await tabTo(page, 'campaign');
  await page.keyboard.type('a/b');
  seen.typed = await page.$eval('[name=campaign]', (field) => field.value);
  // The first page of a list reads itself again, without being loaded anew.
  await page.goto(`${base}/dashboard/messages`);
  await page.evaluate(() => { window.same = true; });
  await send('While it is open');
  await page.waitForFunction(() => document.querySelector('main').textContent.includes('While it is open'), { timeout: 30_000 });
  seen.live = await page.evaluate(() => window.same === true);
  await shot(page, folder, 'hands-live');
  return seen;
}).catch((error) => {
  console.error(error);
  process.exit(1);
});
