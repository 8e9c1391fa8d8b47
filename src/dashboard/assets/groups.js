// Alerts by topic, the most pressing first. Knows alerts and the time, and draws nothing.

const SEVERITIES = ["low", "medium", "high"];

/** Whether nobody took an alert by the time when somebody should have. */
export function isOverdue(alert, now = Date.now()) {
  return !alert.acknowledged_by && Date.parse(alert.respond_by) < now;
}

/** How pressing an alert is: overdue ones, then those that nobody took, by severity, then the newest. */
function rank(alert, now) {
  return [isOverdue(alert, now), !alert.acknowledged_by, SEVERITIES.indexOf(alert.severity), Date.parse(alert.opened_at)];
}

function byRank(a, b) {
  const at = a.findIndex((part, place) => part !== b[place]);
  return at < 0 ? 0 : Number(b[at]) - Number(a[at]);
}

/**
 * The topics that fire: `{topic, alerts, overdue, open}`. Within a topic the whole of it comes before its places.
 */
export function byTopic(firing, now = Date.now()) {
  const groups = new Map();
  for (const alert of firing) {
    if (!groups.has(alert.topic)) groups.set(alert.topic, []);
    groups.get(alert.topic).push(alert);
  }
  const made = [...groups].map(([topic, alerts]) => {
    alerts.sort((a, b) => Boolean(a.place) - Boolean(b.place) || byRank(rank(a, now), rank(b, now)));
    const worst = alerts.map((alert) => rank(alert, now)).sort(byRank)[0];
    const overdue = alerts.filter((alert) => isOverdue(alert, now)).length;
    return { topic, alerts, overdue, open: alerts.filter((alert) => !alert.acknowledged_by).length, worst };
  });
  return made.sort((a, b) => byRank(a.worst, b.worst));
}
