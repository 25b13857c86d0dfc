-- AlterTable
ALTER TABLE "Room" ADD COLUMN "topic" TEXT;
