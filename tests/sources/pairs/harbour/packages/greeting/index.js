export const greeting = (place) => `Ahoy from ${place}`;
