// The dealing ticket of `ahm demo`: an order is asked for, quoted by another page, executed, and
// both see one trade number. Everything goes over one private channel, `deal/desk`.

const $ = (id) => document.getElementById(id);
const count = new Intl.NumberFormat('en');

/** `{word, values}` of a line such as `price id=7 quote=1 price=1.09`. */
function parse(line) {
  const [word, ...pairs] = line.split(' ');
  const values = Object.fromEntries(pairs.map((pair) => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
  return { word, values };
}

const named = (pair) => `${pair.slice(0, 3)}/${pair.slice(3)}`;
const DONE = { buy: 'bought', sell: 'sold' };
const OTHER = { buy: 'sell', sell: 'buy' };

function element(tag, { className = '', text = '', children = [], ...rest } = {}) {
  const made = Object.assign(document.createElement(tag), rest);
  if (className) made.className = className;
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

/** An id that no other page has; `randomUUID` is there in secure contexts only. */
function freshId() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return Array.from(bytes, (byte) => byte.toString(36).padStart(2, '0')).join('');
}

/** This page's orders, kept over a reload, because a trade does not end with a page. */
class Orders {
  constructor() {
    this.all = new Map(JSON.parse(sessionStorage.getItem('orders') ?? '[]'));
  }

  put(id, order) {
    this.all.set(id, { ...this.all.get(id), ...order });
    while (this.all.size > 50) this.all.delete(this.all.keys().next().value);
    sessionStorage.setItem('orders', JSON.stringify([...this.all]));
  }

  open() {
    return [...this.all].filter(([, order]) => order.state === 'asked');
  }
}

/**
 * Begins to deal over `client`; `count` is told of every message, `priceOf(pair, side)` gives the
 * price that is proposed to a maker. Called once, when the ticket is first looked at.
 */
export function deal(client, { onmessage, onopen, priceOf }) {
  const orders = new Orders();
  const requests = new Map();
  const trades = new Map();
  let making = sessionStorage.getItem('making') === 'yes';
  let epoch = '';

  const channel = client.open('deal/desk', {
    onmessage(message) {
      onmessage(message);
      hear(parse(message.data));
    },
    onopen(opened) {
      onopen(opened);
      // Another epoch is another conversation: whatever was said in the one before is said again,
      // and the desk knows the orders by their ids.
      if (opened.ep === epoch) return;
      epoch = opened.ep;
      for (const [id, { pair, side, amount }] of orders.open()) {
        say(`ask id=${id} pair=${pair} side=${side} amount=${amount}`);
      }
      if (making) makeAll();
    },
    onclose({ reason }) {
      tell(`The desk is gone: ${reason}.`);
    },
  });

  const say = (line) => channel.send(line).catch((error) => tell(`Not sent: ${error.message}`));
  const tell = (text) => { $('deal-story').textContent = text; };
  const makeAll = () => {
    for (const { value } of $('deal-pair').options) say(`make pair=${value}`);
  };

  const heard = {
    asked({ id }) {
      orders.put(id, { state: 'asked' });
      tell('Asked. Whoever makes prices in another page sees it now.');
      showOrders();
    },
    price({ id, quote, price }) {
      const order = orders.all.get(id);
      if (!order) return;
      orders.put(id, { quotes: { ...order.quotes, [quote]: price } });
      showOrders();
    },
    request({ request, pair, side, amount }) {
      requests.set(request, { pair, side, amount, state: 'open' });
      showRequests();
    },
    quoted({ request }) {
      const known = requests.get(request);
      if (known) known.state = 'quoted';
      showRequests();
    },
    done({ id, request, trade, pair, side, amount, price }) {
      if (id) orders.put(id, { state: 'done' });
      requests.delete(request);
      const own = id ? side : OTHER[side];
      trades.set(Number(trade), { pair, side: own, amount, price, as: id ? 'taker' : 'maker' });
      tell(`Trade ${trade}: you ${DONE[own]} ${count.format(amount)} ${named(pair)} at ${price}.`);
      showAll();
    },
    over({ id, request }) {
      if (id) orders.put(id, { state: 'over' });
      requests.delete(request);
      showAll();
    },
    making() {},
    left() {
      requests.clear();
      showRequests();
    },
  };

  function hear({ word, values }) {
    if (word === 'error') return tell('The desk did not understand.');
    heard[word]?.(values);
  }

  function showOrders() {
    const items = orders.open().map(([id, { pair, side, amount, quotes = {} }]) => {
      const what = `${side === 'buy' ? 'Buy' : 'Sell'} ${count.format(amount)} ${named(pair)}`;
      const offers = Object.entries(quotes).map(([quote, price]) => element('button', {
        type: 'button', className: `offer ${side}`, text: `Deal at ${price}`,
        onclick: () => say(`accept id=${id} quote=${quote}`),
      }));
      const none = () => element('span', { className: 'note', text: 'No price yet' });
      const wait = offers.length ? [] : [none()];
      const back = element('button', {
        type: 'button', className: 'quiet', text: 'Cancel', onclick: () => say(`cancel id=${id}`),
      });
      return element('li', { children: [element('b', { text: what }), ...wait, ...offers, back] });
    });
    $('deal-orders').replaceChildren(...items);
  }

  function showRequests() {
    const list = $('deal-requests');
    for (const item of [...list.children]) {
      if (!requests.has(item.dataset.request)) item.remove();
    }
    for (const [request, { pair, side, amount, state }] of requests) {
      let item = list.querySelector(`[data-request="${CSS.escape(request)}"]`);
      if (!item) {
        // What is being typed into stays while others come and go.
        item = requestItem(request, { pair, side, amount });
        list.append(item);
      }
      item.classList.toggle('quoted', state === 'quoted');
    }
    $('deal-empty').hidden = requests.size > 0;
    $('deal-empty').textContent = making
      ? 'Nobody asks at the moment. Open this page twice and ask in the other one.'
      : 'Turn it on, and what other pages ask for comes here.';
  }

  function requestItem(request, { pair, side, amount }) {
    const verb = side === 'buy' ? 'buys' : 'sells';
    const text = `Somebody ${verb} ${count.format(amount)} ${named(pair)}`;
    const price = element('input', { inputMode: 'decimal', required: true });
    price.value = priceOf(pair, side);
    price.setAttribute('aria-label', 'Your price');
    const button = element('button', { type: 'submit', text: 'Quote' });
    const form = element('form', { children: [element('b', { text }), price, button] });
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      say(`quote request=${request} price=${price.value.trim()}`);
    });
    const item = element('li', { children: [form] });
    item.dataset.request = request;
    return item;
  }

  function showTrades() {
    const newest = [...trades].sort(([a], [b]) => b - a).slice(0, 20);
    $('deal-trades').replaceChildren(...newest.map(([trade, { pair, side, amount, price, as }]) => {
      const cells = [trade, DONE[side], count.format(amount), named(pair), price, as];
      const children = cells.map((text) => element('td', { text: `${text}` }));
      const row = element('tr', { children });
      row.dataset.trade = trade;
      row.className = side === 'buy' ? 'up' : 'down';
      return row;
    }));
  }

  function showAll() {
    showOrders();
    showRequests();
    showTrades();
  }

  function ask(side) {
    const [pair, amount] = [$('deal-pair').value, Number($('deal-amount').value)];
    if (!Number.isInteger(amount) || amount < 1) return tell('The amount is a whole number.');
    const id = freshId();
    orders.put(id, { pair, side, amount, state: 'asked', quotes: {} });
    say(`ask id=${id} pair=${pair} side=${side} amount=${amount}`);
    showOrders();
  }

  $('deal-buy').addEventListener('click', () => ask('buy'));
  $('deal-sell').addEventListener('click', () => ask('sell'));
  $('deal-making').checked = making;
  $('deal-making').addEventListener('change', ({ target }) => {
    making = target.checked;
    sessionStorage.setItem('making', making ? 'yes' : 'no');
    if (making) makeAll();
    else say('leave');
    showRequests();
  });
  showAll();
}
