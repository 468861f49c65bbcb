// Charts and renewal of the console. The page reads without this file: charts are drawn from the
// table of minutes, and renewal only asks for the page again.
'use strict';
(() => {
  const RENEW_MS = 5000;
  const CHART_HEIGHT = 184;
  // Latency has bounds of powers of about three, so only a logarithmic axis shows them all.
  const LATENCY_SPLITS = [1, 10, 100, 1000, 10000];
  const live = () => document.getElementById('live');
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (text) => (text === '' ? null : Number(text.replaceAll(',', '')));

  function minutes() {
    const rows = [...document.querySelectorAll('#minutes tbody tr')].reverse();
    const column = (name) => rows.map((row) => number(row.dataset[name]));
    return {
      rate: [column('at'), column('rate'), column('errors')],
      latency: [column('at'), column('p50'), column('p95'), column('p99')],
    };
  }

  function axes(values) {
    const common = {
      stroke: colour('--soft'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui, sans-serif',
    };
    const hour = (chart, splits) =>
      splits.map((at) => new Date(at * 1000).toISOString().slice(11, 16));
    return [{ ...common, values: hour, space: 60, size: 30 }, { ...common, size: 44, ...values }];
  }

  function line(label, name, more) {
    return { label, stroke: colour(name), width: 1.5, points: { show: false }, ...more };
  }

  const shown = (unit) => (chart, value) => (value === null || value === undefined ? '' : unit(value));
  const CHARTS = {
    rate: {
      id: 'rate-chart',
      options: () => ({
        series: [
          line('Requests', '--p95', {
            fill: colour('--p95') + '22',
            paths: uPlot.paths.stepped({ align: 1 }),
            value: shown((rate) => rate + ' / s'),
          }),
          line('5xx', '--bad', {
            paths: uPlot.paths.stepped({ align: 1 }),
            value: shown((rate) => rate + ' / s'),
          }),
        ],
        axes: axes({}),
        scales: { y: { range: (chart, low, high) => [0, Math.max(high * 1.1, 1)] } },
      }),
    },
    latency: {
      id: 'latency-chart',
      options: () => {
        const value = shown((ms) => (ms > 10000 ? '> 10 s' : '≤ ' + (ms < 1000 ? ms + ' ms' : ms / 1000 + ' s')));
        // Minutes that stand alone would be lines without length.
        const points = { show: true, size: 4 };
        return {
          series: [
            line('p50', '--p50', { value, points }),
            line('p95', '--p95', { value, points }),
            line('p99', '--p99', { value, points }),
          ],
          axes: axes({ splits: () => LATENCY_SPLITS, filter: (chart, splits) => splits }),
          scales: { y: { distr: 3, range: (chart, low, high) => [0.7, Math.max(high * 1.5, 150)] } },
        };
      },
    },
  };
  const drawn = {};
  const size = (plot) => ({ width: Math.max(plot.clientWidth, 120), height: CHART_HEIGHT });
  const resizes = new ResizeObserver(() => {
    for (const [name, chart] of Object.entries(drawn)) {
      chart.setSize(size(document.querySelector(`#${CHARTS[name].id} .plot`)));
    }
  });

  function draw() {
    const data = minutes();
    for (const [name, { id, options }] of Object.entries(CHARTS)) {
      const figure = document.getElementById(id);
      if (!figure) {
        continue;
      }
      if (drawn[name]) {
        drawn[name].setData(data[name]);
        continue;
      }
      figure.hidden = false;
      const plot = figure.querySelector('.plot');
      const { series, ...rest } = options();
      const clock = { value: shown((at) => new Date(at * 1000).toISOString().slice(11, 16)), label: 'UTC' };
      drawn[name] = new uPlot(
        { ...size(plot), cursor: { y: false }, series: [clock, ...series], ...rest },
        data[name],
        plot,
      );
      resizes.observe(plot);
    }
  }

  function redraw() {
    for (const name of Object.keys(drawn)) {
      drawn[name].destroy();
      delete drawn[name];
    }
    draw();
  }

  const renewal = document.getElementById('renewal');
  const [words, button] = renewal.children;
  let paused = false;
  function tell(failed) {
    renewal.hidden = false;
    renewal.classList.toggle('failed', failed);
    words.textContent = failed
      ? '▲ The node does not answer; these numbers are old.'
      : paused ? 'Renewal is paused.' : 'Renews every 5 seconds.';
    button.textContent = paused ? 'Go on' : 'Pause';
  }
  button.addEventListener('click', () => {
    paused = !paused;
    tell(false);
  });
  setInterval(() => {
    // Nobody looks at a hidden page, and the page of an ended session has nothing to renew.
    if (!paused && !document.hidden && live().hasAttribute('hx-get')) {
      htmx.trigger(live(), 'renew');
    }
  }, RENEW_MS);
  document.addEventListener('htmx:error', () => tell(true));
  document.addEventListener('htmx:after:swap', () => {
    renewal.hidden = !live().hasAttribute('hx-get');
    if (!renewal.hidden) {
      tell(false);
      draw();
    }
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  tell(false);
  draw();
})();
