# What most people write: the distribution's slim image, its Node.js and npm, npm ci, next build.
ARG ROOT_IMAGE
FROM ${ROOT_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends nodejs npm && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=ca_bundle,target=/run/ca.pem NODE_EXTRA_CA_CERTS=/run/ca.pem npm ci
COPY . .
RUN npm run build
USER 65533
CMD ["npm", "start"]
